//! Pure. What is the same for all forwards of a pool, on the wire.

use std::net::IpAddr;

use ipnet::IpNet;
use prost::Message;

use super::{Invalid, invalid, present};
use crate::snapshot::{LocalTargets, Protected, Settings};
use crate::{PROTECTED_RANGES, proto};

pub(crate) fn settings_bytes(settings: &Settings) -> Vec<u8> {
    settings_to_proto(settings).encode_length_delimited_to_vec()
}

/// Settings as they travel.
#[must_use]
pub fn settings_to_proto(settings: &Settings) -> proto::Settings {
    let local_targets = match settings.local_targets {
        LocalTargets::Allow => proto::settings::LocalTargets::Allow,
        LocalTargets::Refuse => proto::settings::LocalTargets::Refuse,
    };
    let ranges = settings.protected.ranges().iter();
    proto::Settings {
        local_targets: local_targets.into(),
        protected: ranges.map(range_to_proto).collect(),
    }
}

/// Settings as they arrived.
///
/// # Errors
/// They are absent or a value is unknown.
pub fn settings_from_proto(message: Option<proto::Settings>) -> Result<Settings, Invalid> {
    let message = present("update.settings", message)?;
    let local_targets = match message.local_targets() {
        proto::settings::LocalTargets::Allow => LocalTargets::Allow,
        proto::settings::LocalTargets::Refuse => LocalTargets::Refuse,
        proto::settings::LocalTargets::Unspecified => {
            return Err(invalid(
                "settings.local_targets",
                message.local_targets,
                "unknown value",
            ));
        }
    };
    let ranges = message.protected;
    if ranges.len() > PROTECTED_RANGES {
        return Err(invalid(PROTECTED, ranges.len(), "too many networks"));
    }
    let ranges = ranges.iter().map(|bytes| range_from_proto(bytes));
    let ranges: Vec<IpNet> = ranges.collect::<Result<_, _>>()?;
    Ok(Settings {
        local_targets,
        protected: Protected::new(ranges),
    })
}

fn range_to_proto(range: &IpNet) -> Vec<u8> {
    let mut bytes = match range.network() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes.push(range.prefix_len());
    bytes
}

fn range_from_proto(bytes: &[u8]) -> Result<IpNet, Invalid> {
    let wrong = |why| invalid(PROTECTED, format!("{bytes:x?}"), why);
    let Some((length, address)) = bytes.split_last() else {
        return Err(wrong("expected an address and a length"));
    };
    let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(address).map(IpAddr::from);
    let address = v4.or_else(|_| v6());
    let address = address.map_err(|_| wrong("expected 4 or 16 bytes of an address"))?;
    IpNet::new(address, *length).map_err(|_| wrong("no such length of a prefix"))
}

const PROTECTED: &str = "settings.protected";

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ranges: &[&str]) -> Settings {
        Settings {
            local_targets: LocalTargets::Refuse,
            protected: Protected::new(ranges.iter().map(|text| text.parse().unwrap())),
        }
    }

    #[test]
    fn settings_come_as_they_went() {
        for ranges in [&[][..], &["10.96.0.0/16", "192.168.0.7/32", "fd00::/108"]] {
            let settings = settings(ranges);
            let back = settings_from_proto(Some(settings_to_proto(&settings)));
            assert_eq!(back, Ok(settings));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let with = |protected: Vec<Vec<u8>>| {
            let mut message = settings_to_proto(&settings(&[]));
            message.protected = protected;
            settings_from_proto(Some(message)).map(|_| ())
        };
        let field = |protected| with(protected).map_err(|invalid| invalid.field);
        assert_eq!(field(vec![vec![10, 96, 0, 0, 16]]), Ok(()));
        let bad = [
            vec![],
            vec![16],
            vec![10, 96, 0, 16],
            vec![10, 96, 0, 0, 33],
        ];
        for bytes in bad {
            assert_eq!(field(vec![bytes.clone()]), Err(PROTECTED), "{bytes:?}");
        }
        let many = (0..=PROTECTED_RANGES).map(|_| vec![10, 96, 0, 0, 16]);
        assert_eq!(field(many.collect()), Err(PROTECTED));
    }
}
