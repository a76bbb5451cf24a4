//! Edge. A socket with the options of a forward's `tcp`.
//!
//! What is absent is not set, so a socket without options costs no call more than it has to.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpforward_protocol::snapshot::TcpOptions;

use super::refused::{Field, Refused};
use super::setting::{Setting, settings};

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Of sockets that listen, and of those that they accept.
    Listener,
    /// Of sockets to backends.
    Relay,
}

/// A fresh socket of the family, nonblocking, with these options. One to a backend has no keepalive yet: a
/// short session does without those calls.
///
/// # Errors
/// The host lacks the family, the process lacks something, or the kernel refuses an option.
pub(super) fn open(domain: Domain, side: Side, options: &TcpOptions) -> io::Result<Socket> {
    let protocol = match options.multipath {
        true => Protocol::MPTCP,
        false => Protocol::TCP,
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(protocol));
    let socket = socket.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::INVAL) if options.multipath => {
            Refused::by_kernel(side, Field::Multipath, "true", error).into()
        }
        _ => error,
    })?;
    // A reset when it is closed, unless `Connection::finish` says otherwise: so the kernel closes
    // the sockets of a process that is killed.
    socket.set_linger(Some(Duration::ZERO))?;
    // Urgent bytes in line; Multipath TCP has none.
    if !options.multipath {
        socket.set_out_of_band_inline(true)?;
    }
    let waits = |setting: &Setting<'_>| side == Side::Relay && setting.may_wait();
    let at_once = settings(options).filter(|setting| !waits(setting));
    set_each(at_once, &socket, domain, side)?;
    Ok(socket)
}

/// Sets those that are said.
///
/// # Errors
/// The kernel refuses one.
pub(super) fn set(
    socket: &Socket,
    domain: Domain,
    side: Side,
    options: &TcpOptions,
) -> io::Result<()> {
    set_each(settings(options), socket, domain, side)
}

fn set_each<'a>(
    settings: impl Iterator<Item = Setting<'a>>,
    socket: &Socket,
    domain: Domain,
    side: Side,
) -> io::Result<()> {
    for setting in settings {
        let set = setting.set(socket, domain);
        set.map_err(|error| by_kernel(side, &setting, error))?;
    }
    Ok(())
}

/// Compares what the kernel says with what was asked for.
///
/// # Errors
/// It is something else, or can't be read.
pub(super) fn read_back(
    socket: &Socket,
    domain: Domain,
    side: Side,
    options: &TcpOptions,
) -> Result<(), Refused> {
    for setting in settings(options) {
        let got = setting.get(socket, domain);
        let got = got.map_err(|error| by_kernel(side, &setting, error))?;
        let wanted = setting.to_string();
        if got.as_ref().is_some_and(|got| *got != wanted) {
            let got = got.unwrap_or_default();
            return Err(Refused::changed(side, setting.field(), wanted, got));
        }
    }
    Ok(())
}

fn by_kernel(side: Side, setting: &Setting<'_>, error: io::Error) -> Refused {
    Refused::by_kernel(side, setting.field(), setting, error)
}
