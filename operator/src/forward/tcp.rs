//! Pure. Socket options of one side, parsed.

use std::num::{NonZeroU16, NonZeroU32};

use tcpforward_protocol::snapshot::{ECN_BITS, TcpKeepalive, TcpOptions};
use tcpforward_protocol::{KEEPALIVE_PROBES, KEEPALIVE_SECONDS, SEGMENT_SIZES, SOCKET_BUFFERS};

use super::{Rejection, unsupported, value};
use crate::crd::{self, Size, defaults};

/// `side`: the field that they stand in.
pub(super) fn parse(side: &str, written: crd::TcpOptions) -> Result<TcpOptions, Rejection> {
    let at = |field: &str| format!("{side}.tcp.{field}");
    let buffer =
        |field: &str, size: Option<Size>| size.map(|size| bytes(&at(field), &size)).transpose();
    let keepalive = written.tcp_keepalive.unwrap_or_default();
    Ok(TcpOptions {
        no_delay: written.no_delay.unwrap_or(defaults::NO_DELAY),
        keepalive: self::keepalive(&at("tcpKeepalive"), &keepalive)?,
        user_timeout: written.user_timeout.as_deref().map(value::duration),
        max_segment_size: match written.max_segment_size {
            None => None,
            Some(size) => Some(segment(&at("maxSegmentSize"), size)?),
        },
        send_buffer: buffer("sendBuffer", written.send_buffer)?,
        receive_buffer: buffer("receiveBuffer", written.receive_buffer)?,
        congestion_control: written.congestion_control,
        not_sent_lowat: buffer("notSentLowat", written.not_sent_lowat)?,
        fast_open: written.fast_open.unwrap_or(defaults::FAST_OPEN),
        multipath: written.multipath.unwrap_or(defaults::MULTIPATH),
        traffic_class: match written.traffic_class {
            None => None,
            Some(class) => Some(traffic_class(&at("trafficClass"), class)?),
        },
    })
}

fn keepalive(field: &str, written: &crd::TcpKeepalive) -> Result<TcpKeepalive, Rejection> {
    let absent = defaults::tcp_keepalive();
    let time = |name: &str, text: &Option<String>, absent| {
        let time = value::time(text.as_deref(), absent);
        let seconds = u32::try_from(time.as_secs()).ok();
        let is_fine = seconds.is_some_and(|s| KEEPALIVE_SECONDS.contains(&s));
        if is_fine && time.subsec_nanos() == 0 {
            return Ok(time);
        }
        let field = format!("{field}.{name}");
        let message = format!("{field} is {time:?}: not from 1s to 32767s in whole seconds");
        Err(unsupported(&field, message))
    };
    let probes = format!("{field}.probes");
    let number = value::positive(&probes, written.probes, absent.probes.get())?;
    if !KEEPALIVE_PROBES.contains(&number.get()) {
        let message = format!("{probes} is {number}: not from 1 to 127");
        return Err(unsupported(&probes, message));
    }
    Ok(TcpKeepalive {
        idle_time: time("idleTime", &written.idle_time, absent.idle_time)?,
        interval: time("interval", &written.interval, absent.interval)?,
        probes: number,
    })
}

fn segment(field: &str, size: i32) -> Result<NonZeroU16, Rejection> {
    let bytes = u32::try_from(size)
        .ok()
        .filter(|n| SEGMENT_SIZES.contains(n));
    let bytes = bytes.and_then(|n| NonZeroU16::new(u16::try_from(n).ok()?));
    bytes.ok_or_else(|| unsupported(field, format!("{field} is {size}: not from 88 to 32767")))
}

fn bytes(field: &str, size: &Size) -> Result<NonZeroU32, Rejection> {
    let bytes = value::bytes(size).filter(|bytes| SOCKET_BUFFERS.contains(bytes));
    let bytes = bytes.and_then(NonZeroU32::new);
    bytes.ok_or_else(|| unsupported(field, format!("{field} is not a size from 4Ki to 512Mi")))
}

fn traffic_class(field: &str, class: i32) -> Result<u8, Rejection> {
    let byte = u8::try_from(class).ok().filter(|byte| byte & ECN_BITS == 0);
    byte.ok_or_else(|| {
        let message = format!("{field} is {class}: no multiple of 4 up to 252");
        unsupported(field, message)
    })
}
