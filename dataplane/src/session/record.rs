//! Edge. What is known of a session besides its ending, for the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::access_log::{self, Asked, Line, Sockets};
use crate::balancer::backend::Backend;
use crate::channel::Channel;
use crate::dial::{self, Dialled};
use crate::proxy_protocol::inbound::Origin;
use crate::proxy_protocol::{Endpoints, UniqueId};
use crate::relay::ending::Ending;
use crate::served::Served;
use crate::socket::{self, TcpInfo};

/// Of one session, from accept on.
pub(super) struct Record {
    /// When it was accepted.
    pub(super) start: Instant,
    /// The client, as far as it is known, and where it connected.
    pub(super) endpoints: Endpoints,
    /// The connection's name in PROXY headers.
    pub(super) unique_id: Option<UniqueId>,
    via: Option<SocketAddr>,
    /// Of a CONNECT proxy's client. In a box, because most sessions have none.
    pub(super) asked: Option<Box<Asked>>,
    upstream_target: Option<Arc<str>>,
    upstream: Option<SocketAddr>,
    upstream_local: Option<SocketAddr>,
    parent: Option<SocketAddr>,
    attempts: u32,
    queued: Duration,
    dial: Duration,
    /// Bytes from downstream, and from upstream.
    pub(super) passed: (u64, u64),
    error: Option<String>,
    sockets: Sockets,
}

impl Record {
    /// The connection is its peer's own, until it says otherwise.
    pub(super) fn new(stream: &TcpStream, peer: SocketAddr) -> Self {
        Self {
            start: Instant::now(),
            endpoints: Endpoints {
                source: peer,
                destination: stream.local_addr().map_or(peer, socket::canonical),
            },
            unique_id: None,
            via: None,
            asked: None,
            upstream_target: None,
            upstream: None,
            upstream_local: None,
            parent: None,
            attempts: 0,
            queued: Duration::ZERO,
            dial: Duration::ZERO,
            passed: (0, 0),
            error: None,
            sockets: Sockets::default(),
        }
    }

    /// Its peer may have said whose connection it is. Returns what was read beyond that.
    pub(super) fn comes_from(&mut self, origin: Origin) -> Vec<u8> {
        if origin.is_proxied {
            self.via = Some(self.endpoints.source);
        }
        self.endpoints = origin.endpoints;
        self.unique_id = origin.unique_id;
        origin.early
    }

    /// Whether its peer has said whose it is.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.via.is_some()
    }

    /// It isn't served.
    pub(super) fn refused(&mut self, error: &impl ToString) {
        self.error = Some(error.to_string());
    }

    /// A backend was reached, or not.
    pub(super) fn dialled(&mut self, result: &Result<Dialled, dial::Error>) {
        self.dial = self.start.elapsed();
        match result {
            Ok(dialled) => {
                let backend = dialled.seat.backend();
                self.queued = dialled.queued;
                self.through(Some(backend));
                self.reached(&dialled.channel, Some(backend.address), dialled.attempts);
            }
            Err(error) => {
                self.attempts = error.attempts();
                self.refused(error);
            }
        }
    }

    /// That address was reached, or one that only a parent proxy knows.
    pub(super) fn reached(
        &mut self,
        upstream: &Channel,
        address: Option<SocketAddr>,
        attempts: u32,
    ) {
        self.dial = self.start.elapsed();
        self.attempts = attempts;
        self.parent = upstream.parent();
        self.upstream = address;
        self.upstream_local = upstream.local_addr().ok().map(socket::canonical);
    }

    /// It is a backend's.
    pub(super) fn through(&mut self, backend: Option<&Arc<Backend>>) {
        self.upstream_target = backend.map(|backend| Arc::clone(&backend.target));
    }

    /// The relay is over, and nothing has been closed yet.
    pub(super) fn relayed(&mut self, downstream: &TcpStream, upstream: &TcpStream) {
        self.sockets = Sockets {
            downstream: TcpInfo::of(downstream),
            upstream: TcpInfo::of(upstream),
        };
    }

    /// Writes the line.
    pub(super) fn write(self, served: &Served, ending: Ending) {
        access_log::write(&Line {
            forward: &served.name,
            client: self.endpoints.source,
            via: self.via,
            local: self.endpoints.destination,
            unique_id: self.unique_id.as_ref(),
            asked: self.asked.as_deref(),
            upstream_target: self.upstream_target.as_deref(),
            upstream: self.upstream,
            upstream_local: self.upstream_local,
            parent: self.parent,
            attempts: self.attempts,
            queued: self.queued,
            dial: self.dial,
            duration: self.start.elapsed(),
            up: self.passed.0,
            down: self.passed.1,
            ending,
            error: self.error.as_deref(),
            sockets: self.sockets,
        });
    }
}
