//! Pure. Socket options, on the wire.

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{millis, nonzero_millis, optional_count};
use crate::proto;
use crate::snapshot::{ECN_BITS, TcpKeepalive, TcpOptions};
use crate::wire::{Invalid, invalid};
use crate::{
    CONGESTION_CONTROL_BYTES, KEEPALIVE_PROBES, KEEPALIVE_SECONDS, SEGMENT_SIZES, SOCKET_BUFFERS,
};

/// What says nothing is absent, so that it hashes as it did before there were options.
pub(super) fn to_proto(options: &TcpOptions) -> Option<proto::TcpOptions> {
    let keepalive = options.keepalive;
    let said = *options != TcpOptions::default();
    said.then(|| proto::TcpOptions {
        no_delay: options.no_delay,
        keepalive_idle_s: seconds(keepalive.idle_time),
        keepalive_interval_s: seconds(keepalive.interval),
        keepalive_probes: keepalive.probes.get(),
        user_timeout_ms: options.user_timeout.map_or(0, millis),
        max_segment_size: options.max_segment_size.map_or(0, |size| size.get().into()),
        send_buffer: optional_count(options.send_buffer),
        receive_buffer: optional_count(options.receive_buffer),
        congestion_control: options.congestion_control.clone().unwrap_or_default(),
        not_sent_lowat: optional_count(options.not_sent_lowat),
        fast_open: options.fast_open,
        multipath: options.multipath,
        traffic_class: options.traffic_class.map(u32::from),
    })
}

pub(super) fn from_proto(message: Option<&proto::TcpOptions>) -> Result<TcpOptions, Invalid> {
    let Some(message) = message else {
        return Ok(TcpOptions::default());
    };
    Ok(TcpOptions {
        no_delay: message.no_delay,
        keepalive: TcpKeepalive {
            idle_time: keepalive_time("tcp.keepalive_idle_s", message.keepalive_idle_s)?,
            interval: keepalive_time("tcp.keepalive_interval_s", message.keepalive_interval_s)?,
            probes: probes(message.keepalive_probes)?,
        },
        user_timeout: nonzero_millis(message.user_timeout_ms),
        max_segment_size: segment(message.max_segment_size)?,
        send_buffer: buffer("tcp.send_buffer", message.send_buffer)?,
        receive_buffer: buffer("tcp.receive_buffer", message.receive_buffer)?,
        congestion_control: congestion_control(&message.congestion_control)?,
        not_sent_lowat: buffer("tcp.not_sent_lowat", message.not_sent_lowat)?,
        fast_open: message.fast_open,
        multipath: message.multipath,
        traffic_class: message.traffic_class.map(traffic_class).transpose()?,
    })
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn keepalive_time(field: &'static str, seconds: u32) -> Result<Duration, Invalid> {
    within(field, seconds, KEEPALIVE_SECONDS, "expected 1 to 32767")?;
    Ok(Duration::from_secs(seconds.into()))
}

fn probes(number: u32) -> Result<NonZeroU32, Invalid> {
    let field = "tcp.keepalive_probes";
    let number = NonZeroU32::new(number).filter(|n| KEEPALIVE_PROBES.contains(&n.get()));
    number.ok_or_else(|| invalid(field, "out of range", "expected 1 to 127"))
}

fn segment(size: u32) -> Result<Option<NonZeroU16>, Invalid> {
    if size == 0 {
        return Ok(None);
    }
    let field = "tcp.max_segment_size";
    within(field, size, SEGMENT_SIZES, "expected 88 to 32767")?;
    Ok(u16::try_from(size).ok().and_then(NonZeroU16::new))
}

fn buffer(field: &'static str, bytes: u32) -> Result<Option<NonZeroU32>, Invalid> {
    if bytes != 0 {
        within(field, bytes, SOCKET_BUFFERS, "expected 4 KiB to 512 MiB")?;
    }
    Ok(NonZeroU32::new(bytes))
}

fn within(
    field: &'static str,
    number: u32,
    bounds: RangeInclusive<u32>,
    why: &'static str,
) -> Result<(), Invalid> {
    match bounds.contains(&number) {
        true => Ok(()),
        false => Err(invalid(field, number, why)),
    }
}

fn congestion_control(name: &str) -> Result<Option<String>, Invalid> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.len() > CONGESTION_CONTROL_BYTES || !name.bytes().all(is_fine) {
        let why = "expected at most 15 letters, digits, '-' and '_'";
        return Err(invalid("tcp.congestion_control", name, why));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

fn traffic_class(number: u32) -> Result<u8, Invalid> {
    let class = u8::try_from(number).ok();
    let class = class.filter(|class| class & ECN_BITS == 0);
    class.ok_or_else(|| {
        let why = "expected a multiple of 4 up to 252";
        invalid("tcp.traffic_class", number, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn options_come_as_they_went() {
        let nagle = TcpOptions {
            no_delay: false,
            ..TcpOptions::default()
        };
        let plain_class = TcpOptions {
            traffic_class: Some(0),
            ..TcpOptions::default()
        };
        for options in [testing::full_tcp(), nagle, plain_class] {
            let message = to_proto(&options).unwrap();
            assert_eq!(from_proto(Some(&message)), Ok(options));
        }
        assert_eq!(to_proto(&TcpOptions::default()), None);
        assert_eq!(from_proto(None), Ok(TcpOptions::default()));
    }

    #[test]
    fn what_no_socket_takes_is_refused() {
        type Edit = fn(&mut proto::TcpOptions);
        let with = |change: Edit| {
            let mut message = to_proto(&testing::full_tcp()).unwrap();
            change(&mut message);
            from_proto(Some(&message)).map_err(|invalid| invalid.field)
        };
        let refused: [(&str, Edit); 11] = [
            ("tcp.keepalive_idle_s", |m| m.keepalive_idle_s = 0),
            ("tcp.keepalive_interval_s", |m| {
                m.keepalive_interval_s = 32768
            }),
            ("tcp.keepalive_probes", |m| m.keepalive_probes = 0),
            ("tcp.keepalive_probes", |m| m.keepalive_probes = 128),
            ("tcp.max_segment_size", |m| m.max_segment_size = 87),
            ("tcp.max_segment_size", |m| m.max_segment_size = 32768),
            ("tcp.send_buffer", |m| m.send_buffer = 4095),
            ("tcp.receive_buffer", |m| m.receive_buffer = (512 << 20) + 1),
            ("tcp.congestion_control", |m| {
                m.congestion_control = "a b".to_owned()
            }),
            ("tcp.not_sent_lowat", |m| m.not_sent_lowat = 1),
            ("tcp.traffic_class", |m| m.traffic_class = Some(185)),
        ];
        for (field, change) in refused {
            assert_eq!(with(change), Err(field));
        }
        assert_eq!(
            with(|m| m.traffic_class = Some(256)),
            Err("tcp.traffic_class")
        );
        let long: Edit = |m| m.congestion_control = "a".repeat(16);
        assert_eq!(with(long), Err("tcp.congestion_control"));
    }
}
