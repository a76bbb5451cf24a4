//! Edge. Tries a forward's socket options on sockets that nobody needs, before a session does.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;
use socket2::{Domain, Socket};
use tcpforward_protocol::snapshot::{ForwardSpec, TcpOptions};

use super::options::{self, Side};
use super::refused::{Field, Refused};

/// Where the kernel says whether first bytes may travel with a SYN.
const FAST_OPEN: (&str, &str) = ("net.ipv4.tcp_fastopen", "/proc/sys/net/ipv4/tcp_fastopen");

/// Its bit for listeners.
const FAST_OPEN_LISTENS: u32 = 2;

/// Tries both sides of a forward whose listener is at that address. What is returned is what people
/// should know of it: options that the kernel takes otherwise than they were written.
///
/// # Errors
/// The kernel refuses one, by its own words.
pub fn try_options(spec: &ForwardSpec, listener: IpAddr) -> io::Result<Vec<String>> {
    let (near, far) = (&spec.listener.tcp, &spec.relay.tcp);
    let default = TcpOptions::default();
    let mut notes = Vec::new();
    if *near != default {
        if near.fast_open {
            fast_open_listens()?;
        }
        let domain = match listener {
            IpAddr::V4(_) => Domain::IPV4,
            IpAddr::V6(_) => Domain::IPV6,
        };
        match try_one(domain, Side::Listener, near) {
            // It will listen on IPv4.
            Err(error) if lacks_family(&error) && listener.is_unspecified() => {
                notes.extend(try_one(Domain::IPV4, Side::Listener, near)?);
            }
            other => notes.extend(other?),
        }
    }
    if *far != default {
        notes.extend(try_one(Domain::IPV4, Side::Relay, far)?);
        match try_one(Domain::IPV6, Side::Relay, far) {
            Err(error) if lacks_family(&error) => {}
            // The notes are the same.
            other => drop(other?),
        }
    }
    Ok(notes)
}

fn lacks_family(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn try_one(domain: Domain, side: Side, options: &TcpOptions) -> io::Result<Vec<String>> {
    let socket = options::open(domain, side, options)?;
    options::set(&socket, domain, side, options)?;
    options::read_back(&socket, domain, side, options)?;
    clamped(&socket, side, options)
}

/// The kernel takes a size silently that is beyond its limit, makes it the limit, and reads it back
/// doubled.
fn clamped(socket: &Socket, side: Side, options: &TcpOptions) -> io::Result<Vec<String>> {
    let mut notes = Vec::new();
    let buffers = [
        (
            Field::SendBuffer,
            options.send_buffer,
            socket.send_buffer_size()?,
            "wmem",
        ),
        (
            Field::ReceiveBuffer,
            options.receive_buffer,
            socket.recv_buffer_size()?,
            "rmem",
        ),
    ];
    for (field, wanted, doubled, parameter) in buffers {
        let Some(wanted) = wanted else { continue };
        let given = doubled / 2;
        if given < wanted.get() as usize {
            notes.push(format!(
                "{}.tcp.{} is {wanted} bytes, and the kernel gives {given}: raise net.core.{parameter}_max on the node",
                side.word(),
                field.word(),
            ));
        }
    }
    Ok(notes)
}

/// A listener takes the option whether or not it will be of any use.
fn fast_open_listens() -> Result<(), Refused> {
    let (parameter, path) = FAST_OPEN;
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let bits = text.trim().parse::<u32>();
    if bits.is_ok_and(|bits| bits & FAST_OPEN_LISTENS != 0) {
        return Ok(());
    }
    Err(Refused::off(
        Side::Listener,
        Field::FastOpen,
        parameter,
        &text,
    ))
}
