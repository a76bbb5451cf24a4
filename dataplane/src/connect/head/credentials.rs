//! Pure. What `Proxy-Authorization` holds, RFC 7617.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Who a client says it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user with a password.
    Basic {
        /// Without control characters, so it can be logged.
        user: String,
        /// Any bytes.
        password: Vec<u8>,
    },
    /// Another scheme, or what can't be read.
    Unusable,
}

impl Credentials {
    /// Reads the value of the field.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        Self::basic(value).unwrap_or(Self::Unusable)
    }

    fn basic(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let bytes = STANDARD.decode(rest.trim_ascii_start()).ok()?;
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let (user, password) = bytes.split_at_checked(colon)?;
        let user = std::str::from_utf8(user).ok()?;
        let is_fine = !user.chars().any(char::is_control);
        is_fine.then(|| Self::Basic {
            user: user.to_owned(),
            password: password.get(1..).unwrap_or_default().to_vec(),
        })
    }
}

/// Without the password, which is nobody's business.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f
                .debug_struct("Basic")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Unusable => f.write_str("Unusable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_basic_with_strict_base64_is_usable() {
        let basic = |user: &str, password: &[u8]| Credentials::Basic {
            user: user.to_owned(),
            password: password.to_vec(),
        };
        let cases: [(&[u8], Credentials); 15] = [
            (b"Basic Y2k6c2VjcmV0", basic("ci", b"secret")),
            (b"bAsIc   Y2k6c2VjcmV0", basic("ci", b"secret")),
            (b"Basic Y2k6YTpi", basic("ci", b"a:b")),
            (b"Basic Y2k6", basic("ci", b"")),
            (b"Basic OnB3", basic("", b"pw")),
            (b"Basic asO8OsO8", basic("j\u{fc}", "\u{fc}".as_bytes())),
            (b"Basic Y2k6_w==", Credentials::Unusable),
            (b"Basic Y2k", Credentials::Unusable),
            (b"Basic Y2k6c2VjcmV0 ", Credentials::Unusable),
            (b"Basic Y2k=Y2k6", Credentials::Unusable),
            (b"Basic /zpwdw==", Credentials::Unusable),
            (b"Basic YQBiOnB3", Credentials::Unusable),
            (b"Basic", Credentials::Unusable),
            (b"Bearer Y2k6c2VjcmV0", Credentials::Unusable),
            (b"", Credentials::Unusable),
        ];
        for (value, expected) in cases {
            let text = String::from_utf8_lossy(value);
            assert_eq!(Credentials::parse(value), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials::parse(b"Basic Y2k6c2VjcmV0");
        assert_eq!(format!("{credentials:?}"), "Basic { user: \"ci\", .. }");
    }
}
