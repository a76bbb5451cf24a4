//! Pure. How things go, on the wire.

use super::answer::{address, cut, known};
use super::{Invalid, invalid, name};
use crate::answer::{
    BoundListener, DialError, FailingBackend, HostError, HostErrorKind, LeftOut, Report,
    ResolvedHost, SessionCount,
};
use crate::proto;

/// A report as it travels.
#[must_use]
pub fn report_to_proto(report: &Report) -> proto::Report {
    let failing = |backend: &FailingBackend| proto::FailingBackend {
        forward: backend.forward.to_string(),
        target: backend.target.clone(),
        address: backend.address.to_string(),
        reason: match backend.reason {
            DialError::Other => proto::failing_backend::DialError::Other,
            DialError::Refused => proto::failing_backend::DialError::Refused,
            DialError::Reset => proto::failing_backend::DialError::Reset,
            DialError::Timeout => proto::failing_backend::DialError::Timeout,
            DialError::Unexpected => proto::failing_backend::DialError::Unexpected,
            DialError::Unreachable => proto::failing_backend::DialError::Unreachable,
        }
        .into(),
        message: cut(&backend.message),
        since_ms: backend.since_ms,
        left_out: match backend.left_out {
            LeftOut::Ejected => proto::failing_backend::LeftOut::Ejected,
            LeftOut::No => proto::failing_backend::LeftOut::No,
            LeftOut::Unhealthy => proto::failing_backend::LeftOut::Unhealthy,
        }
        .into(),
    };
    let listener = |listener: &BoundListener| proto::BoundListener {
        forward: listener.forward.to_string(),
        address: listener.address.to_string(),
    };
    let sessions = |count: &SessionCount| proto::SessionCount {
        forward: count.forward.to_string(),
        open: count.open,
        total: count.total,
    };
    proto::Report {
        failing: report.failing.iter().map(failing).collect(),
        listeners: report.listeners.iter().map(listener).collect(),
        sessions: report.sessions.iter().map(sessions).collect(),
        hosts: report.hosts.iter().map(host_to_proto).collect(),
    }
}

/// A report as it arrived. An entry that makes no sense is left out, an unknown reason is `Other`.
#[must_use]
pub fn report_from_proto(message: proto::Report) -> Report {
    let listener = |listener: &proto::BoundListener| {
        Ok(BoundListener {
            forward: name("listener.forward", &listener.forward)?,
            address: address("listener.address", &listener.address)?,
        })
    };
    let sessions = |count: &proto::SessionCount| {
        Ok(SessionCount {
            forward: name("sessions.forward", &count.forward)?,
            open: count.open,
            total: count.total,
        })
    };
    Report {
        failing: known(&message.failing, failing_from_proto),
        listeners: known(&message.listeners, listener),
        sessions: known(&message.sessions, sessions),
        hosts: known(&message.hosts, host_from_proto),
    }
}

fn failing_from_proto(message: &proto::FailingBackend) -> Result<FailingBackend, Invalid> {
    let reason = match message.reason() {
        proto::failing_backend::DialError::Other
        | proto::failing_backend::DialError::Unspecified => DialError::Other,
        proto::failing_backend::DialError::Refused => DialError::Refused,
        proto::failing_backend::DialError::Reset => DialError::Reset,
        proto::failing_backend::DialError::Timeout => DialError::Timeout,
        proto::failing_backend::DialError::Unexpected => DialError::Unexpected,
        proto::failing_backend::DialError::Unreachable => DialError::Unreachable,
    };
    Ok(FailingBackend {
        forward: name("failing.forward", &message.forward)?,
        target: cut(&message.target),
        address: address("failing.address", &message.address)?,
        reason,
        message: cut(&message.message),
        since_ms: message.since_ms,
        left_out: match message.left_out() {
            proto::failing_backend::LeftOut::Ejected => LeftOut::Ejected,
            proto::failing_backend::LeftOut::No => LeftOut::No,
            proto::failing_backend::LeftOut::Unhealthy => LeftOut::Unhealthy,
        },
    })
}

fn host_to_proto(host: &ResolvedHost) -> proto::ResolvedHost {
    proto::ResolvedHost {
        forward: host.forward.to_string(),
        target: host.target.clone(),
        addresses: host.addresses.iter().map(ToString::to_string).collect(),
        error: host
            .error
            .as_ref()
            .map_or_else(String::new, |error| cut(&error.text)),
        error_kind: match host.error.as_ref().map(|error| error.kind) {
            Some(HostErrorKind::Forbidden) => proto::resolved_host::ErrorKind::Forbidden,
            Some(HostErrorKind::PartlyResolved) => proto::resolved_host::ErrorKind::PartlyResolved,
            Some(HostErrorKind::NotResolved) | None => proto::resolved_host::ErrorKind::NotResolved,
        }
        .into(),
    }
}

fn host_from_proto(message: &proto::ResolvedHost) -> Result<ResolvedHost, Invalid> {
    let ip = |text: &String| {
        text.parse()
            .map_err(|_| invalid("hosts.addresses", text, "expected an IP address"))
    };
    let kind = match message.error_kind() {
        proto::resolved_host::ErrorKind::Forbidden => HostErrorKind::Forbidden,
        proto::resolved_host::ErrorKind::NotResolved => HostErrorKind::NotResolved,
        proto::resolved_host::ErrorKind::PartlyResolved => HostErrorKind::PartlyResolved,
    };
    let text = Some(cut(&message.error)).filter(|error| !error.is_empty());
    Ok(ResolvedHost {
        forward: name("hosts.forward", &message.forward)?,
        target: cut(&message.target),
        addresses: known(&message.addresses, ip),
        error: text.map(|text| HostError { kind, text }),
    })
}
