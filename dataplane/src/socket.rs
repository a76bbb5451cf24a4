//! Edge. Every socket option, on listeners, clients and backends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, SockRef};
use tcpforward_protocol::snapshot::{TcpKeepalive, TcpOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod connection;
mod info;
mod options;
mod refused;
mod setting;
mod stream;
mod trial;

pub use connection::Connection;
pub use info::TcpInfo;
pub use stream::Stream;
pub use trial::try_options;

use options::Side;
use setting::Setting;

/// Connections that wait to be accepted, per listening socket. The kernel takes the smaller of
/// this and `net.core.somaxconn`, which is 4096 where nobody changed it.
const BACKLOG: i32 = 4096;

/// Whether another socket holds the address is asked by the first one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Fails when anyone holds the address, whatever options they used.
    First,
    /// Joins the group that the first socket opened.
    Join,
}

/// A bound and listening socket whose accepted sockets inherit the options of clients.
///
/// The first socket of a group is bound and listens *without* `SO_REUSEPORT`, so the kernel
/// refuses it when the port is taken by anyone, a second tcpforward too; it allows sharing
/// only once it holds the port, and is never closed in between.
///
/// # Errors
/// The address can't be bound, or the kernel refuses an option.
pub fn listen(address: SocketAddr, share: Share, tcp: &TcpOptions) -> io::Result<TcpListener> {
    let socket = options::open(Domain::for_address(address), Side::Listener, tcp)?;
    if address.is_ipv6() {
        // The unspecified address takes IPv4 as well, whatever the host's default is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if share == Share::Join {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Gives a listening socket other options, for those that it accepts from now on.
///
/// # Errors
/// The kernel refuses one.
pub fn tune(listener: &TcpListener, tcp: &TcpOptions) -> io::Result<()> {
    let domain = Domain::for_address(listener.local_addr()?);
    options::set(&SockRef::from(listener), domain, Side::Listener, tcp)
}

/// Accepts one connection, which doesn't block and which no runtime watches, or says that none waits.
///
/// # Errors
/// `WouldBlock` when none waits; anything else is the kernel's trouble.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = loop {
        match rustix::net::acceptfrom_with(listener, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let peer = peer.and_then(|any| SocketAddr::try_from(any).ok());
    let stream = socket.into();
    match peer {
        Some(peer) => Ok((stream, canonical(peer))),
        None => Ok((stream, SocketAddr::from(([0, 0, 0, 0], 0)))),
    }
}

/// Sets what a listener of Multipath TCP can't pass on to those that speak TCP alone: urgent bytes in
/// line. The others have none, and refuse it.
pub fn take_urgent_in_line(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_out_of_band_inline(true);
}

/// An IPv4 client of a dual-stack listener, as people write it.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Begins to connect to a backend; [`Stream::connected`] tells when it is done.
///
/// # Errors
/// The process or the host is out of something, or the kernel refuses an option.
pub fn connect(address: SocketAddr, tcp: &TcpOptions) -> io::Result<Stream> {
    let socket = options::open(Domain::for_address(address), Side::Relay, tcp)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Stream::watch(socket.into(), tcp.multipath)
}

/// Has the kernel look after the peer of a connection to a backend that is silent. A socket of [`connect`] is not
/// looked after yet.
pub fn keep_alive(stream: &Stream, keepalive: TcpKeepalive) {
    let socket = SockRef::from(stream);
    // One that refuses is over already. Keepalive is the same for every family.
    let _ = Setting::Keepalive(keepalive).set(&socket, Domain::IPV4);
}

/// Has the current runtime watch a descriptor.
///
/// # Errors
/// The kernel gives no more watches.
pub(crate) fn watch<T: AsFd + AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; sockets own their descriptors until they are dropped"
    )]
    AsyncFd::with_interest(owner, interest)
}

/// Whether an address is one of this host's: only then can a socket be bound to it.
///
/// On a host that lets anybody bind anything (`ip_nonlocal_bind`, as virtual addresses need it) that
/// says nothing, and the source that the kernel would take tells. It is another one for a secondary
/// address, which is then taken for a stranger's: better than to take every stranger's for ours.
#[must_use]
pub fn is_of_this_host(ip: IpAddr) -> bool {
    let bound = |ip: IpAddr| UdpSocket::bind((ip, 0));
    // Of the blocks for documentation (RFC 5737, RFC 3849): nobody has them.
    let (any, nobodys): (IpAddr, IpAddr) = match ip {
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        IpAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    };
    if ip.is_loopback() || bound(ip).is_err() {
        return ip.is_loopback();
    }
    if bound(nobodys).is_err() {
        return true;
    }
    let source = bound(any).and_then(|socket| {
        // Sends nothing: UDP.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// Trouble of this process or host, which says nothing about a peer.
#[must_use]
pub fn is_local(error: &io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else {
        return refused::is_refused(error);
    };
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::ADDRINUSE,
        Errno::AGAIN,
        Errno::PERM,
        Errno::ACCESS,
    ]
    .contains(&errno)
}

/// Whether accepting has to pause, because the process or the host is out of something.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Raises the descriptor limit as far as the process may, and returns it.
#[must_use]
pub fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
