//! Edge. Binds a forward's address once per worker, and says in words why it can't.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::io::Errno;
use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::{Forward, TcpOptions};
use tokio::sync::OwnedSemaphorePermit;

use crate::plan::Addresses;
use crate::shared::Shared;
use crate::socket::{self, Share};

/// An address that is ours.
#[derive(Debug)]
pub(super) struct Bound {
    /// One per worker.
    pub(super) sockets: Vec<TcpListener>,
    /// As it was asked for.
    pub(super) wanted: SocketAddr,
    /// As the kernel says.
    pub(super) address: SocketAddr,
    /// Options of the sockets.
    pub(super) tcp: TcpOptions,
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
        "can't listen on {ports} ports: {needed} descriptors needed, {free} are free: raise the limit of open files"
    )]
    Descriptors {
        /// How many addresses.
        ports: usize,
        /// One per address and worker.
        needed: usize,
        /// At present.
        free: usize,
    },
}

impl Error {
    /// The address that somebody else holds.
    pub(super) fn taken(&self) -> Option<SocketAddr> {
        match self {
            Self::Kernel { address, source }
                if Errno::from_io_error(source) == Some(Errno::ADDRINUSE) =>
            {
                Some(*address)
            }
            Self::Descriptors { .. } | Self::Kernel { .. } => None,
        }
    }
}

/// Binds all of these addresses or none: `count` sockets each, of which the first makes sure that
/// nobody else holds the address, unless it joins sockets of ours.
pub(super) fn bind(
    addresses: &Addresses,
    first: Share,
    count: usize,
    tcp: &TcpOptions,
    shared: &Shared,
) -> Result<Vec<Bound>, Error> {
    let needed = count * addresses.len();
    let permits = u32::try_from(needed)
        .ok()
        .and_then(|n| shared.try_descriptors(n));
    let mut permits = permits.ok_or_else(|| Error::Descriptors {
        ports: addresses.len(),
        needed,
        free: shared.free_descriptors(),
    })?;
    let mut all = Vec::new();
    for &wanted in addresses {
        let group = group_or_ipv4(wanted, first, count, tcp);
        let (sockets, address) = group.map_err(|source| Error::Kernel {
            address: wanted,
            source,
        })?;
        // There are as many as were asked for.
        let Some(permit) = permits.split(count) else {
            break;
        };
        all.push(Bound {
            sockets,
            wanted,
            address,
            tcp: tcp.clone(),
            permit,
        });
    }
    Ok(all)
}

/// On a host without IPv6 every address is every IPv4 address.
fn group_or_ipv4(
    address: SocketAddr,
    first: Share,
    count: usize,
    tcp: &TcpOptions,
) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let group = |address| Ok((group(address, first, count, tcp)?, address));
    match group(address) {
        Err(error)
            if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT)
                && address.ip().is_unspecified() =>
        {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            group(every)
        }
        other => other,
    }
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

fn group(
    address: SocketAddr,
    first: Share,
    count: usize,
    tcp: &TcpOptions,
) -> io::Result<Vec<TcpListener>> {
    let mut sockets = vec![socket::listen(address, first, tcp)?];
    for _ in 1..count {
        sockets.push(socket::listen(address, Share::Join, tcp)?);
    }
    Ok(sockets)
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

    fn bind(addresses: &Addresses, count: usize, shared: &Shared) -> Result<Vec<Bound>, Error> {
        super::bind(
            addresses,
            Share::First,
            count,
            &TcpOptions::default(),
            shared,
        )
    }

    fn one(address: &str) -> Addresses {
        [address.parse().unwrap()].into()
    }

    fn free() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn a_port_that_anybody_holds_is_refused_and_words_say_so() {
        let shared = Shared::new(1000, 2);
        let shy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = bind(&[shy.local_addr().unwrap()].into(), 2, &shared).unwrap_err();
        assert!(
            taken.to_string().contains("choose another listener.port"),
            "{taken}"
        );

        // A second one of us shares its port among its own workers only.
        let free = [free()].into();
        let first = bind(&free, 3, &shared).unwrap();
        assert_eq!(first[0].sockets.len(), 3);
        assert!(bind(&free, 2, &shared).is_err());
        drop(first);
        assert!(bind(&free, 2, &shared).is_ok());
    }

    #[test]
    fn an_address_that_is_not_here_and_a_lack_of_descriptors_are_refused() {
        let shared = Shared::new(20, 1);
        let far = bind(&one("192.0.2.1:4000"), 1, &shared).unwrap_err();
        assert!(far.to_string().contains("listener.address"), "{far}");
        let range: Addresses = (4000..4100).map(|p| ([127, 0, 0, 1], p).into()).collect();
        let many = bind(&range, 2, &shared).unwrap_err().to_string();
        assert!(
            many.contains("100 ports: 200 descriptors needed, 15 are free"),
            "{many}"
        );
    }

    #[test]
    fn a_range_is_bound_as_a_whole_or_not_at_all() {
        let shared = Shared::new(1000, 1);
        let taken = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let all: Addresses = [free(), SocketAddr::from(([127, 0, 0, 2], port))].into();
        let before = shared.free_descriptors();
        let error = bind(&all, 2, &shared).unwrap_err();
        assert_eq!(error.taken(), taken.local_addr().ok());
        assert_eq!(shared.free_descriptors(), before);
        drop(taken);
        let bound = bind(&all, 2, &shared).unwrap();
        assert_eq!(bound.iter().map(|b| b.wanted).collect::<Addresses>(), all);
        assert_eq!(shared.free_descriptors(), before - 4);
        drop(bound);
        assert_eq!(shared.free_descriptors(), before);
    }
}
