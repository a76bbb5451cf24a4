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

    /// Adds one more field of a request. Of each proxy its version and name are kept, which are ASCII; comments are
    /// nobody else's business.
    pub fn add(&mut self, value: &[u8]) {
        for hop in value.split(|byte| *byte == b',') {
            let mut words = hop
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty() && word.is_ascii());
            let Some((version, name)) = words.next().zip(words.next()) else {
                continue;
            };
            if !self.fields.is_empty() {
                self.fields.push_str(", ");
            }
            self.fields
                .extend(version.iter().map(|byte| char::from(*byte)));
            self.fields.push(' ');
            self.fields
                .extend(name.iter().map(|byte| char::from(*byte)));
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names().count()
    }

    /// Whether one of them calls itself that.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The field's value for the next proxy: these, then we.
    #[must_use]
    pub fn and(&self, name: &str) -> String {
        let comma = if self.fields.is_empty() { "" } else { ", " };
        format!("{}{comma}{} {name}", self.fields, self.version)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let hops = self.fields.split(", ");
        hops.filter_map(|hop| hop.split_once(' ').map(|(_, name)| name))
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
            b"1.1 us (Squid, of\t1999)",
        ]);
        // A comma in a comment counts as well: they are rare.
        assert_eq!(hops.count(), 4);
        assert_eq!(
            hops.and("me"),
            "1.0 fred, 1.1 p.example.net, 1.1 us, of 1999), 1.1 me"
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
    fn what_is_no_name_is_left_out() {
        let hops = hops(&[b"1.1 caf\xe9, lonely", b"1.1  two (some\xff)"]);
        assert_eq!(hops.and("me"), "1.1 two, 1.1 me");
    }
}
