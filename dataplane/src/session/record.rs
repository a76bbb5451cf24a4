//! Edge. What is known of a session besides its ending, for the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::access_log::{self, Asked, Line, Sockets};
use crate::balancer::backend::Backend;
use crate::channel::Channel;
use crate::dial::{self, Dialled};
use crate::proxy_protocol::inbound::Origin;
use crate::proxy_protocol::{Endpoints, UniqueId};
use crate::relay::ending::Ending;
use crate::served::Served;
use crate::socket::{self, Stream};

/// Of one session, from accept on.
pub(super) struct Record {
    /// When it was accepted.
    pub(super) start: Instant,
    /// The client, as far as it is known, and where it connected.
    pub(super) endpoints: Endpoints,
    upstream_target: Option<Arc<str>>,
    upstream: Option<SocketAddr>,
    upstream_local: Option<SocketAddr>,
    attempts: u32,
    queued: Duration,
    dial: Duration,
    /// In a box, because most sessions have none.
    rare: Option<Box<Rare>>,
}

/// What is known of few sessions, and of each of them only some of it.
#[derive(Default)]
struct Rare {
    unique_id: Option<UniqueId>,
    via: Option<Box<SocketAddr>>,
    asked: Option<Box<Asked>>,
    parent: Option<Box<SocketAddr>>,
    error: Option<Box<str>>,
}

/// What was relayed; nothing, where there was no other side.
#[derive(Default)]
pub(super) struct Traffic {
    /// Bytes from downstream.
    pub(super) up: u64,
    /// Bytes from upstream.
    pub(super) down: u64,
    /// How the sockets were at the end.
    pub(super) sockets: Sockets,
}

impl Record {
    /// The connection is its peer's own, until it says otherwise.
    pub(super) fn new(stream: &Stream, peer: SocketAddr) -> Self {
        Self {
            start: Instant::now(),
            endpoints: Endpoints {
                source: peer,
                destination: stream.local_addr().map_or(peer, socket::canonical),
            },
            upstream_target: None,
            upstream: None,
            upstream_local: None,
            attempts: 0,
            queued: Duration::ZERO,
            dial: Duration::ZERO,
            rare: None,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The connection's name in PROXY headers, which it has from now at least.
    pub(super) fn unique_id(&mut self) -> UniqueId {
        let id = &mut self.rare().unique_id;
        id.get_or_insert_with(|| UniqueId::random(&mut fastrand::Rng::new()))
            .clone()
    }

    /// What a CONNECT proxy's client asked for.
    pub(super) fn asked(&mut self, asked: Box<Asked>) {
        self.rare().asked = Some(asked);
    }

    /// Its peer may have said whose connection it is. Returns what was read beyond that.
    pub(super) fn comes_from(&mut self, origin: Origin) -> Vec<u8> {
        if origin.is_proxied {
            self.rare().via = Some(Box::new(self.endpoints.source));
        }
        self.endpoints = origin.endpoints;
        if origin.unique_id.is_some() {
            self.rare().unique_id = origin.unique_id;
        }
        origin.early
    }

    /// Whether its peer has said whose it is.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.via.is_some())
    }

    /// It isn't served.
    pub(super) fn refused(&mut self, error: &impl ToString) {
        self.rare().error = Some(error.to_string().into());
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
        if let Some(parent) = upstream.parent() {
            self.rare().parent = Some(Box::new(parent));
        }
        self.upstream = address;
        self.upstream_local = upstream.local_addr().ok().map(socket::canonical);
    }

    /// It is a backend's.
    pub(super) fn through(&mut self, backend: Option<&Arc<Backend>>) {
        self.upstream_target = backend.map(|backend| Arc::clone(&backend.target));
    }

    /// Writes the line.
    pub(super) fn write(self, served: &Served, ending: Ending, traffic: Traffic) {
        let rare = self.rare.unwrap_or_default();
        access_log::write(&Line {
            forward: &served.name,
            client: self.endpoints.source,
            via: rare.via.map(|via| *via),
            local: self.endpoints.destination,
            unique_id: rare.unique_id.as_ref(),
            asked: rare.asked.as_deref(),
            upstream_target: self.upstream_target.as_deref(),
            upstream: self.upstream,
            upstream_local: self.upstream_local,
            parent: rare.parent.map(|parent| *parent),
            attempts: self.attempts,
            queued: self.queued,
            dial: self.dial,
            duration: self.start.elapsed(),
            up: traffic.up,
            down: traffic.down,
            ending,
            error: rare.error.as_deref(),
            sockets: traffic.sockets,
        });
    }
}
