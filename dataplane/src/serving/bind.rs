//! Edge. Binds a forward's address once per worker, and says in words why it can't.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::io::Errno;
use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::Forward;
use tokio::sync::OwnedSemaphorePermit;

use crate::shared::Shared;
use crate::socket::{self, Share};

/// An address that is ours.
#[derive(Debug)]
pub(super) struct Bound {
    /// One per worker.
    pub(super) sockets: Vec<TcpListener>,
    /// As the kernel says.
    pub(super) address: SocketAddr,
    /// Room for the sockets.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Why an address can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The kernel refuses.
    #[error("can't listen on {address}: {}", hint(.source))]
    Kernel {
        /// The address.
        address: SocketAddr,
        /// The refusal.
        source: io::Error,
    },
    /// The process has no descriptors left.
    #[error(
        "can't listen on {address}: {needed} descriptors needed, {free} are free: raise the limit of open files"
    )]
    Descriptors {
        /// The address.
        address: SocketAddr,
        /// One per worker.
        needed: usize,
        /// At present.
        free: usize,
    },
}

impl Error {
    /// Whether somebody else holds the address.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Kernel { source, .. } if Errno::from_io_error(source) == Some(Errno::ADDRINUSE))
    }
}

/// Binds `count` sockets; the first one makes sure that nobody else holds the address.
pub(super) fn bind(address: SocketAddr, count: usize, shared: &Shared) -> Result<Bound, Error> {
    let permit = u32::try_from(count)
        .ok()
        .and_then(|n| shared.try_descriptors(n));
    let permit = permit.ok_or_else(|| Error::Descriptors {
        address,
        needed: count,
        free: shared.free_descriptors(),
    })?;
    let (sockets, address) = match group(address, count) {
        // A host without IPv6: every address is then every IPv4 address.
        Err(error)
            if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT)
                && address.ip().is_unspecified() =>
        {
            group(
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
                count,
            )
        }
        other => other,
    }
    .map_err(|source| Error::Kernel { address, source })?;
    Ok(Bound {
        sockets,
        address,
        permit,
    })
}

/// Whether this address is one of this host's; whether its port is free is not looked at.
pub(super) fn probe(address: SocketAddr) -> Result<(), Error> {
    match TcpListener::bind(SocketAddr::new(address.ip(), 0)) {
        Err(source) if Errno::from_io_error(&source) == Some(Errno::ADDRNOTAVAIL) => {
            Err(Error::Kernel { address, source })
        }
        _ => Ok(()),
    }
}

fn group(address: SocketAddr, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let mut sockets = vec![socket::listen(address, Share::First)?];
    for _ in 1..count {
        sockets.push(socket::listen(address, Share::Join)?);
    }
    Ok((sockets, address))
}

/// A forward that can't have its address, and why.
pub(super) fn refusal(forward: &Forward, text: String) -> Refusal {
    Refusal {
        forward: forward.name.clone(),
        spec_hash: forward.spec_hash,
        code: RefusalCode::BindFailed,
        text,
    }
}

fn hint(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => {
            "another program holds this port: stop it, or choose another listener.port".to_owned()
        }
        Some(Errno::ACCESS) => {
            "this process may not take such a low port: choose a listener.port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start".to_owned()
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "no interface here has this address: correct listener.address, or --bind where that is absent".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_anybody_holds_is_refused_and_words_say_so() {
        let shared = Shared::new(1000, 2);
        let shy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = bind(shy.local_addr().unwrap(), 2, &shared).unwrap_err();
        assert!(
            taken.to_string().contains("choose another listener.port"),
            "{taken}"
        );

        // A second one of us shares its port among its own workers only.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let first = bind(free, 3, &shared).unwrap();
        assert_eq!(first.sockets.len(), 3);
        assert!(bind(free, 2, &shared).is_err());
        drop(first);
        assert!(bind(free, 2, &shared).is_ok());
    }

    #[test]
    fn an_address_that_is_not_here_and_a_lack_of_descriptors_are_refused() {
        let shared = Shared::new(20, 1);
        let far = bind("192.0.2.1:4000".parse().unwrap(), 1, &shared).unwrap_err();
        assert!(far.to_string().contains("listener.address"), "{far}");
        let many = bind("127.0.0.1:4000".parse().unwrap(), 100, &shared).unwrap_err();
        assert!(
            many.to_string()
                .contains("100 descriptors needed, 15 are free"),
            "{many}"
        );
    }
}
