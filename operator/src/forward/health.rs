//! Pure. Health checks, parsed.

use std::num::NonZeroU32;

use tcpforward_protocol::PROBE_BYTES;
use tcpforward_protocol::snapshot::{
    ActiveCheck, HealthCheck, HttpProbe, PassiveCheck, Probe, TcpProbe, WhenNoneHealthy,
};

use super::{Rejection, unsupported, value};
use crate::crd::{self, CheckType, PayloadType, defaults};

pub(super) fn parse(check: crd::HealthCheck) -> Result<HealthCheck, Rejection> {
    Ok(HealthCheck {
        active: check.active.map(active).transpose()?,
        passive: passive(check.passive.unwrap_or_default())?,
        when_none_healthy: match check.when_none_healthy {
            None => defaults::WHEN_NONE_HEALTHY,
            Some(crd::WhenNoneHealthy::Refuse) => WhenNoneHealthy::Refuse,
            Some(crd::WhenNoneHealthy::TryAll) => WhenNoneHealthy::TryAll,
        },
    })
}

fn active(check: crd::ActiveCheck) -> Result<ActiveCheck, Rejection> {
    let at = |field: &str| format!("spec.relay.healthCheck.active.{field}");
    let threshold = |field: &str, number, absent| value::positive(&at(field), number, absent);
    Ok(ActiveCheck {
        interval: value::time(check.interval.as_deref(), defaults::CHECK_INTERVAL),
        timeout: value::time(check.timeout.as_deref(), defaults::CHECK_TIMEOUT),
        unhealthy_threshold: threshold(
            "unhealthyThreshold",
            check.unhealthy_threshold,
            defaults::UNHEALTHY_THRESHOLD,
        )?,
        healthy_threshold: threshold(
            "healthyThreshold",
            check.healthy_threshold,
            defaults::HEALTHY_THRESHOLD,
        )?,
        probe: match check.kind {
            CheckType::Http => Probe::Http(http(&at("http"), check.http.unwrap_or_default())?),
            CheckType::Tcp => {
                let tcp = check.tcp.unwrap_or_default();
                Probe::Tcp(TcpProbe {
                    send: payload(&at("tcp.send"), tcp.send)?,
                    receive: payload(&at("tcp.receive"), tcp.receive)?,
                })
            }
        },
    })
}

fn http(field: &str, check: crd::HttpCheck) -> Result<HttpProbe, Rejection> {
    let mut statuses = Vec::new();
    for (i, status) in check.statuses.into_iter().flatten().enumerate() {
        let number = u16::try_from(status).ok();
        let number = number.filter(|status| (100..=599).contains(status));
        statuses.push(number.ok_or_else(|| {
            let field = format!("{field}.statuses[{i}]");
            unsupported(&field, format!("{field} is {status}: no status of HTTP"))
        })?);
    }
    statuses.sort_unstable();
    statuses.dedup();
    Ok(HttpProbe {
        port: match check.port {
            Some(number) => Some(value::port(&format!("{field}.port"), number)?),
            None => None,
        },
        path: check.path.unwrap_or_else(|| defaults::HTTP_PATH.to_owned()),
        statuses,
    })
}

fn payload(field: &str, payload: Option<crd::Payload>) -> Result<Vec<u8>, Rejection> {
    let Some(payload) = payload else {
        return Ok(Vec::new());
    };
    let bytes = match payload.kind {
        PayloadType::Text => payload.text.map(String::into_bytes),
        PayloadType::Binary => payload.binary.as_deref().and_then(unhex),
    };
    let bytes = bytes.filter(|bytes| bytes.len() <= PROBE_BYTES);
    bytes.ok_or_else(|| {
        let message = format!("{field} is neither text nor hexadecimal digits of at most 4 KiB");
        unsupported(field, message)
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    bytes.collect()
}

fn passive(check: crd::PassiveCheck) -> Result<PassiveCheck, Rejection> {
    let at = |field: &str| format!("spec.relay.healthCheck.passive.{field}");
    let limit = |field: &str, number, absent| {
        let number = value::count(&at(field), number, absent)?;
        Ok(NonZeroU32::new(number))
    };
    Ok(PassiveCheck {
        consecutive_dial_failures: limit(
            "consecutiveDialFailures",
            check.consecutive_dial_failures,
            defaults::CONSECUTIVE_DIAL_FAILURES,
        )?,
        consecutive_early_resets: limit(
            "consecutiveEarlyResets",
            check.consecutive_early_resets,
            defaults::CONSECUTIVE_EARLY_RESETS,
        )?,
        base_ejection_time: value::time(
            check.base_ejection_time.as_deref(),
            defaults::BASE_EJECTION_TIME,
        ),
        max_ejection_percent: match check.max_ejection_percent {
            Some(number) => value::percent(&at("maxEjectionPercent"), number)?,
            None => defaults::MAX_EJECTION_PERCENT,
        },
    })
}
