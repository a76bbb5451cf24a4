//! Pure. Version 2: sixteen bytes, addresses, fields (TLV).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crc::{CRC_32_ISCSI, Crc};

use super::{Endpoints, Header, Malformed, Step, UniqueId};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 with either command.
pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;

/// TCP over either family; 0: not said.
pub(super) const UNSPECIFIED: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;

/// Kinds of fields.
pub(super) const CRC32C: u8 = 0x03;
pub(super) const UNIQUE_ID: u8 = 0x05;

/// Before the addresses.
const FIXED: usize = 16;

/// What may follow the fixed part. The length's own limit is 64 KiB, for whoever may connect to
/// make us hold; addresses, a unique id, a checksum and what TLS has to say of a client stay far
/// below this, and senders are told to keep to 536 bytes.
const LONGEST: usize = 2048 - FIXED;

/// CRC32c, as iSCSI has it.
pub(super) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

pub(super) fn parse(bytes: &[u8]) -> Result<Step, Malformed> {
    let Some((fixed, mut rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Step::Need(FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    if command >> 4 != 2 {
        return Err(Malformed::Version);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST || rest.len() > length {
        return Err(Malformed::Length);
    }
    let address_bytes = match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED) => 0,
        (PROXY, TCP4) => 12,
        (PROXY, TCP6) => 36,
        (PROXY, _) => return Err(Malformed::Family),
        _ => return Err(Malformed::Command),
    };
    if length < address_bytes {
        return Err(Malformed::Length);
    }
    if rest.len() < length {
        return Ok(Step::Need(length - rest.len()));
    }
    if command == LOCAL {
        // The specification: the rest is thrown away, whatever it says.
        return Ok(Step::Done(Header::default()));
    }
    let endpoints = match family {
        TCP4 => Some(endpoints::<4, Ipv4Addr>(&mut rest)?),
        TCP6 => Some(endpoints::<16, Ipv6Addr>(&mut rest)?),
        _ => None,
    };
    Ok(Step::Done(Header {
        endpoints,
        unique_id: fields(bytes, rest)?,
    }))
}

fn endpoints<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(
    rest: &mut &[u8],
) -> Result<Endpoints, Malformed> {
    let [source, destination] = [take::<N>(rest)?, take(rest)?].map(|bytes| A::from(bytes).into());
    let [source_port, destination_port] = [take(rest)?, take(rest)?].map(u16::from_be_bytes);
    Ok(Endpoints {
        source: SocketAddr::new(source.to_canonical(), source_port),
        destination: SocketAddr::new(destination.to_canonical(), destination_port),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, left) = rest.split_first_chunk().ok_or(Malformed::Length)?;
    *rest = left;
    Ok(*taken)
}

/// Checks every field's length and the checksum, and returns the unique id.
fn fields(header: &[u8], mut rest: &[u8]) -> Result<Option<UniqueId>, Malformed> {
    let mut unique_id = None;
    while !rest.is_empty() {
        let [kind, high, low] = take(&mut rest).map_err(|_| Malformed::Tlv)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, left) = rest.split_at_checked(length).ok_or(Malformed::Tlv)?;
        match kind {
            CRC32C => check(header, value, left)?,
            UNIQUE_ID => unique_id = Some(UniqueId::new(value).ok_or(Malformed::Tlv)?),
            _ => {}
        }
        rest = left;
    }
    Ok(unique_id)
}

/// The checksum is that of the whole header with zeros in its own place.
fn check(header: &[u8], value: &[u8], behind: &[u8]) -> Result<(), Malformed> {
    let said = value.try_into().map_err(|_| Malformed::Tlv)?;
    let before = header.len() - behind.len() - value.len();
    let mut digest = CHECKSUM.digest();
    digest.update(header.get(..before).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(behind);
    if digest.finalize() == u32::from_be_bytes(said) {
        Ok(())
    } else {
        Err(Malformed::Checksum)
    }
}
