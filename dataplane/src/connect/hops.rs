//! Pure. Which proxies a request has been through (`Via`, RFC 9110 §7.6.3): parents of parents may lead in a
//! circle, and one request would go round until a proxy takes no more.

/// Proxies in a row. Chains that somebody wanted have two or three.
pub const MOST: usize = 10;

/// The proxies that a request has been through, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hops {
    fields: String,
    /// The version of HTTP in which the request came.
    version: &'static str,
}

impl Hops {
    /// None yet, of a request that came in that version of HTTP.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        let fields = String::new();
        Self { fields, version }
    }

    /// Adds one more field of a request, of which no byte is a control character.
    pub fn add(&mut self, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        let value = value.trim_matches([' ', '\t', ',']);
        if value.is_empty() {
            return;
        }
        if !self.fields.is_empty() {
            self.fields.push_str(", ");
        }
        self.fields.push_str(value);
    }

    /// How many. A comma in a comment counts as well, and comments are rare.
    #[must_use]
    pub fn count(&self) -> usize {
        self.each().count()
    }

    /// Whether one of them calls itself that.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.each()
            .any(|hop| hop.split_ascii_whitespace().nth(1) == Some(name))
    }

    /// The field's value for the next proxy: these, then we.
    #[must_use]
    pub fn and(&self, name: &str) -> String {
        let mut all = self.clone();
        all.add(format!("{} {name}", self.version).as_bytes());
        all.fields
    }

    fn each(&self) -> impl Iterator<Item = &str> {
        let each = self.fields.split(',').map(str::trim_ascii);
        each.filter(|hop| !hop.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(fields: &[&[u8]]) -> Hops {
        let mut hops = Hops::new("1.1");
        fields.iter().for_each(|field| hops.add(field));
        hops
    }

    #[test]
    fn fields_are_one_list() {
        let hops = hops(&[
            b"1.0 fred, 1.1 p.example.net ",
            b"",
            b",",
            b"1.1 us (Squid)",
        ]);
        assert_eq!(hops.count(), 3);
        assert_eq!(
            hops.and("me"),
            "1.0 fred, 1.1 p.example.net, 1.1 us (Squid), 1.1 me"
        );
        for (name, is_there) in [("fred", true), ("us", true), ("1.1", false), ("fre", false)] {
            assert_eq!(hops.contains(name), is_there, "{name}");
        }
    }

    #[test]
    fn a_client_s_own_request_has_been_through_nobody() {
        let none = Hops::new("1.0");
        assert_eq!(none.count(), 0);
        assert!(!none.contains(""));
        assert_eq!(none.and("me"), "1.0 me");
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_on_as_text() {
        let hops = hops(&[b"1.1 caf\xe9"]);
        assert_eq!(hops.and("me"), "1.1 caf\u{fffd}, 1.1 me");
    }
}
