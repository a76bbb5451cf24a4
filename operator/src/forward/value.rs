//! Pure. Single values of the API as types that can't be wrong. The schema has bounded them before,
//! so a refusal here says little.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::{Rejection, unsupported};
use crate::crd::Size;

pub(super) fn port(field: &str, number: i32) -> Result<NonZeroU16, Rejection> {
    u16::try_from(number)
        .ok()
        .and_then(NonZeroU16::new)
        .ok_or_else(|| unsupported(field, format!("{field} is {number}: no TCP port")))
}

pub(super) fn ip(field: &str, text: &str) -> Result<IpAddr, Rejection> {
    text.parse()
        .map_err(|_| unsupported(field, format!("{field} is {text:?}: no IP address")))
}

pub(super) fn count(field: &str, number: Option<i32>, absent: u32) -> Result<u32, Rejection> {
    number.map_or(Ok(absent), |number| {
        u32::try_from(number)
            .map_err(|_| unsupported(field, format!("{field} is {number}: less than 0")))
    })
}

pub(super) fn positive(
    field: &str,
    number: Option<i32>,
    absent: u32,
) -> Result<NonZeroU32, Rejection> {
    let number = count(field, number, absent)?;
    NonZeroU32::new(number)
        .ok_or_else(|| unsupported(field, format!("{field} is 0: write 1 or more")))
}

/// Absent: no limit.
pub(super) fn limit(field: &str, number: Option<i32>) -> Result<Option<NonZeroU32>, Rejection> {
    number
        .map(|number| positive(field, Some(number), 0))
        .transpose()
}

pub(super) fn percent(field: &str, number: i32) -> Result<u8, Rejection> {
    let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| {
        unsupported(
            field,
            format!("{field} is {number}: no percentage from 0 to 100"),
        )
    })
}

pub(super) fn time(text: Option<&str>, absent: Duration) -> Duration {
    text.map_or(absent, duration)
}

/// 0s means none.
pub(super) fn silence(text: Option<&str>, absent: Option<Duration>) -> Option<Duration> {
    text.map_or(absent, |text| Some(duration(text)).filter(|d| !d.is_zero()))
}

/// The sum of what the schema's pattern lets through: numbers with h, m, s or ms.
pub(super) fn duration(text: &str) -> Duration {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let (digits, tail) = rest.split_at(end);
        let number: u64 = digits.parse().unwrap_or_default();
        let (unit, length) = match tail {
            _ if tail.starts_with("ms") => (Duration::from_millis(number), 2),
            _ if tail.starts_with('h') => (Duration::from_secs(3600 * number), 1),
            _ if tail.starts_with('m') => (Duration::from_secs(60 * number), 1),
            _ => (Duration::from_secs(number), 1),
        };
        total += unit;
        rest = tail.get(length..).unwrap_or_default();
    }
    total
}

/// A number of bytes that the schema's pattern lets through.
pub(super) fn bytes(size: &Size) -> Option<u32> {
    let text = match size {
        Size::Number(number) => return u32::try_from(*number).ok(),
        Size::Text(text) => text,
    };
    let units = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("k", 1000),
        ("M", 1_000_000),
    ];
    let with_unit = |(unit, bytes)| Some((text.strip_suffix(unit)?, bytes));
    let (digits, unit) = units
        .into_iter()
        .find_map(with_unit)
        .unwrap_or((text.as_str(), 1));
    digits.parse::<u32>().ok()?.checked_mul(unit)
}
