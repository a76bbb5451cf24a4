//! Pure. Health checks, on the wire.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{millis, optional_count, percent, positive, some_time};
use crate::PROBE_BYTES;
use crate::proto::{self, active_check, health_check};
use crate::snapshot::{
    ActiveCheck, HealthCheck, HttpProbe, PassiveCheck, Probe, TcpProbe, WhenNoneHealthy,
};
use crate::wire::{Invalid, invalid, port, present};

pub(super) fn to_proto(check: &HealthCheck) -> Option<proto::HealthCheck> {
    if *check == HealthCheck::default() {
        return None;
    }
    let passive = check.passive;
    let when_none_healthy = match check.when_none_healthy {
        WhenNoneHealthy::Refuse => health_check::WhenNoneHealthy::Refuse,
        WhenNoneHealthy::TryAll => health_check::WhenNoneHealthy::TryAll,
    };
    Some(proto::HealthCheck {
        active: check.active.as_ref().map(active_to_proto),
        passive: Some(proto::PassiveCheck {
            consecutive_dial_failures: optional_count(passive.consecutive_dial_failures),
            consecutive_early_resets: optional_count(passive.consecutive_early_resets),
            base_ejection_ms: millis(passive.base_ejection_time),
            max_ejection_percent: passive.max_ejection_percent.into(),
        }),
        when_none_healthy: when_none_healthy.into(),
    })
}

pub(super) fn from_proto(message: Option<proto::HealthCheck>) -> Result<HealthCheck, Invalid> {
    let Some(message) = message else {
        return Ok(HealthCheck::default());
    };
    let when_none_healthy = match message.when_none_healthy() {
        health_check::WhenNoneHealthy::Refuse => WhenNoneHealthy::Refuse,
        health_check::WhenNoneHealthy::TryAll => WhenNoneHealthy::TryAll,
        health_check::WhenNoneHealthy::Unspecified => {
            let field = "health_check.when_none_healthy";
            return Err(invalid(field, message.when_none_healthy, "unknown value"));
        }
    };
    let passive = present("health_check.passive", message.passive)?;
    let most = "passive.max_ejection_percent";
    Ok(HealthCheck {
        active: message.active.map(active_from_proto).transpose()?,
        passive: PassiveCheck {
            consecutive_dial_failures: NonZeroU32::new(passive.consecutive_dial_failures),
            consecutive_early_resets: NonZeroU32::new(passive.consecutive_early_resets),
            base_ejection_time: Duration::from_millis(passive.base_ejection_ms),
            max_ejection_percent: percent(most, passive.max_ejection_percent)?,
        },
        when_none_healthy,
    })
}

fn active_to_proto(check: &ActiveCheck) -> proto::ActiveCheck {
    let probe = match &check.probe {
        Probe::Http(http) => active_check::Probe::Http(proto::HttpProbe {
            port: http.port.map_or(0, |port| port.get().into()),
            path: http.path.clone(),
            statuses: http.statuses.iter().map(|s| (*s).into()).collect(),
        }),
        Probe::Tcp(tcp) => active_check::Probe::Tcp(proto::TcpProbe {
            send: tcp.send.clone(),
            receive: tcp.receive.clone(),
        }),
    };
    proto::ActiveCheck {
        interval_ms: millis(check.interval),
        timeout_ms: millis(check.timeout),
        unhealthy_threshold: check.unhealthy_threshold.get(),
        healthy_threshold: check.healthy_threshold.get(),
        probe: Some(probe),
    }
}

fn active_from_proto(message: proto::ActiveCheck) -> Result<ActiveCheck, Invalid> {
    let interval = some_time("active.interval_ms", message.interval_ms)?;
    let timeout = some_time("active.timeout_ms", message.timeout_ms)?;
    if timeout > interval {
        let why = "expected at most the interval";
        return Err(invalid("active.timeout_ms", message.timeout_ms, why));
    }
    let probe = match present("active.probe", message.probe)? {
        active_check::Probe::Http(http) => Probe::Http(http_from_proto(http)?),
        active_check::Probe::Tcp(tcp) => Probe::Tcp(TcpProbe {
            send: bounded("tcp.send", tcp.send)?,
            receive: bounded("tcp.receive", tcp.receive)?,
        }),
    };
    Ok(ActiveCheck {
        interval,
        timeout,
        unhealthy_threshold: positive("active.unhealthy_threshold", message.unhealthy_threshold)?,
        healthy_threshold: positive("active.healthy_threshold", message.healthy_threshold)?,
        probe,
    })
}

fn http_from_proto(http: proto::HttpProbe) -> Result<HttpProbe, Invalid> {
    let status = |number: &u32| {
        let status = u16::try_from(*number)
            .ok()
            .filter(|s| (100..=599).contains(s));
        status.ok_or_else(|| invalid("http.statuses", number, "expected 100 to 599"))
    };
    let is_path = http.path.starts_with('/') && http.path.bytes().all(|b| b.is_ascii_graphic());
    if !is_path || http.path.len() > PROBE_BYTES {
        return Err(invalid("http.path", http.path, "expected a path"));
    }
    Ok(HttpProbe {
        port: match http.port {
            0 => None,
            number => Some(port("http.port", number)?),
        },
        path: http.path,
        statuses: http.statuses.iter().map(status).collect::<Result<_, _>>()?,
    })
}

fn bounded(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, Invalid> {
    if bytes.len() > PROBE_BYTES {
        return Err(invalid(field, bytes.len(), "too many bytes"));
    }
    Ok(bytes)
}
