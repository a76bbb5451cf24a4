//! Pure. Durations on command lines, written as the Gateway API writes them.

use std::time::Duration;

/// Reads a Gateway API duration: up to four numbers of at most five digits, each with h, m, s or ms.
///
/// # Errors
/// What a duration looks like.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration like 5s, 1m30s or 500ms".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    for _ in 0..4 {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(expected)?;
        let (number, tail) = rest.split_at(digits);
        let amount: u64 = number.parse().map_err(|_| expected())?;
        if number.len() > 5 {
            return Err(expected());
        }
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let (after, unit) = units
            .into_iter()
            .find_map(|(name, millis)| Some((tail.strip_prefix(name)?, millis)))
            .ok_or_else(expected)?;
        total += Duration::from_millis(amount * unit);
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
    }
    Err(expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_the_gateway_apis() {
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "1d", "123456s", "1s1s1s1s1s", "-1s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
