//! Pure. What a target's name is, and under which full names DNS is asked for it.

use std::net::IpAddr;

use hickory_resolver::proto::rr::Name;

/// What the text of a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address: DNS never hears of it.
    Address(IpAddr),
    /// For DNS.
    Name(Name),
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// Other characters than those of host names.
    #[error("a DNS name has letters, digits, '-', '_' and '.' only")]
    Characters,
    /// A label is empty or too long, or the whole is.
    #[error("a DNS name has labels of 1 to 63 characters, 253 together")]
    Length,
    /// Some programs read it as an IPv4 address, others don't: 127.1, 0x7f000001.
    #[error("a DNS name doesn't end in a number; an address is written in full")]
    Number,
}

/// Reads the text of a target's name.
///
/// # Errors
/// It is neither a name nor an address.
pub fn parse(text: &str) -> Result<Kind, NotAName> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Kind::Address(address));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.chars().all(is_plain) {
        return Err(NotAName::Characters);
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| (1..=63).contains(&label.len());
    if bare.len() > 253 || !bare.split('.').all(is_label) {
        return Err(NotAName::Length);
    }
    let last = bare.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()));
    if is_hex || last.chars().all(|c| c.is_ascii_digit()) {
        return Err(NotAName::Number);
    }
    Name::from_ascii(text)
        .map(Kind::Name)
        .map_err(|_| NotAName::Length)
}

/// The full names to ask for, in that order: `search` and `ndots` of resolv.conf. Each is asked for
/// both families before the next one, as they are two answers about one name.
#[must_use]
pub fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    let below = search.iter().filter_map(|domain| {
        let mut found = name.clone().append_domain(domain).ok()?;
        found.set_fqdn(true);
        Some(found)
    });
    let mut names: Vec<Name> = below.collect();
    if usize::from(name.num_labels()) > ndots {
        names.insert(0, whole);
    } else {
        names.push(whole);
    }
    let mut seen: Vec<Name> = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_looks_like_one_never_reach_dns() {
        for text in ["192.0.2.1", "::1", "2001:db8::1"] {
            assert_eq!(parse(text), Ok(Kind::Address(text.parse().unwrap())));
        }
        for text in [
            "127.1",
            "2130706433",
            "0x7f000001",
            "0X7F.0x1",
            "a.1",
            "1.2.3.4.",
            "0x",
        ] {
            assert_eq!(parse(text), Err(NotAName::Number), "{text}");
        }
        for text in ["db.example.com", "db", "db.example.com.", "_a.b-c.d1"] {
            assert!(matches!(parse(text), Ok(Kind::Name(_))), "{text}");
        }
        for text in [
            "a b",
            "a/b",
            "[::1]",
            "m\u{fc}nchen.example",
            "a\\.b",
            "*.a",
        ] {
            assert_eq!(parse(text), Err(NotAName::Characters), "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for text in ["", ".", "a..b", ".a", &long, &"a.".repeat(128)] {
            assert_eq!(parse(text), Err(NotAName::Length), "{text}");
        }
    }

    #[test]
    fn names_are_searched_as_resolv_conf_says() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let search = [name("shop.svc.cluster.local"), name("example.com.")];
        let asked = |text: &str, ndots| -> Vec<String> {
            let names = candidates(&name(text), &search, ndots);
            names.iter().map(ToString::to_string).collect()
        };
        let below = ["db.shop.svc.cluster.local.", "db.example.com."];
        assert_eq!(asked("db", 1), [below[0], below[1], "db."]);
        assert_eq!(asked("db.", 5), ["db."]);
        assert_eq!(
            asked("db.a", 1),
            ["db.a.", "db.a.shop.svc.cluster.local.", "db.a.example.com."]
        );
        assert_eq!(
            asked("db.a", 5),
            ["db.a.shop.svc.cluster.local.", "db.a.example.com.", "db.a."]
        );
    }
}
