//! Edge. Ports that nobody else gets while a test needs them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// A port that is held, but not listened on, until this is dropped. Only programs that set
/// `SO_REUSEPORT` on their listener can use it in the meantime.
#[derive(Debug)]
pub struct Reserved {
    /// Bound, so that the kernel gives the port to nobody else; never listening, so that it gets no
    /// connection.
    _socket: Socket,
    address: SocketAddr,
}

impl Reserved {
    /// Reserves a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is none.
    pub fn new() -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// Reserves a free port of an address.
    ///
    /// # Errors
    /// There is none, or the address is not ours.
    pub fn at(address: Ipv4Addr) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::new(IpAddr::V4(address), 0).into())?;
        let address = socket.local_addr()?.as_socket().context("an IP socket")?;
        Ok(Self {
            _socket: socket,
            address,
        })
    }

    /// The port with its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A port of 127.0.0.1 that was free a moment ago, for programs that must be told one. Others can
/// take it before the program does: inside a namespace of the test there are no others.
///
/// # Errors
/// There is none.
pub fn free() -> Result<SocketAddr> {
    several(1)?.pop().context("a port")
}

/// So many different ones.
///
/// # Errors
/// There are not that many.
pub fn several(n: usize) -> Result<Vec<SocketAddr>> {
    // All at once, or the system may give the same one again.
    let held = (0..n).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let held = held.collect::<Result<Vec<_>, _>>()?;
    let addresses = held.iter().map(TcpListener::local_addr);
    Ok(addresses.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn several_ports_are_different_ones() {
        let ports: BTreeSet<_> = several(200).unwrap().into_iter().collect();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_reserved_port_is_taken_for_others_and_free_for_those_who_share() {
        let reserved = Reserved::new().unwrap();
        let address = reserved.address();
        assert!(std::net::TcpListener::bind(address).is_err());
        let sharing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        sharing.set_reuse_port(true).unwrap();
        sharing.bind(&address.into()).unwrap();
        sharing.listen(1).unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }
}
