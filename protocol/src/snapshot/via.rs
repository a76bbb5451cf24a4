//! Pure. A parent proxy: who is asked, by HTTP CONNECT, to reach what we don't reach ourselves.

use std::fmt;
use std::num::NonZeroU16;

/// A parent proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Whether it is spoken to in the clear.
    pub scheme: ViaScheme,
    /// A DNS name, which the data plane resolves, or an IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: NonZeroU16,
    /// Who we are to it; absent: it doesn't ask.
    pub credentials: Option<Login>,
    /// Of whoever may have signed its certificate, as PEM; absent: the public ones. Not without TLS.
    pub ca: Option<String>,
    /// Why it must not be asked: what belongs to it could not be read. Absent: it may.
    pub unusable: Option<String>,
}

/// Whether a parent proxy is spoken to in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViaScheme {
    /// It is.
    Http,
    /// By TLS.
    Https,
}

/// User and password by Basic authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Without a colon.
    pub user: String,
    /// A secret.
    pub password: String,
}

/// Without the password, which is nobody's business.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let login = Login {
            user: "team".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
