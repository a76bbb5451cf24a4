//! Pure. How a forward is named.

use std::fmt;
use std::str::FromStr;

/// Namespace and name of a TcpForward.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardName {
    namespace: String,
    name: String,
}

/// A text that is not `namespace/name`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not namespace/name with at most 63 and 253 characters")]
pub struct NotAForwardName {
    text: String,
}

impl ForwardName {
    /// Joins a namespace and a name that Kubernetes has accepted.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ForwardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ForwardName {
    type Err = NotAForwardName;

    fn from_str(text: &str) -> Result<Self, NotAForwardName> {
        match text.split_once('/') {
            Some((namespace, name))
                if (1..=63).contains(&namespace.len())
                    && (1..=253).contains(&name.len())
                    && !name.contains('/') =>
            {
                Ok(Self::new(namespace, name))
            }
            _ => Err(NotAForwardName {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_two_parts() {
        assert_eq!("shop/web".parse(), Ok(ForwardName::new("shop", "web")));
        for text in ["", "web", "/web", "shop/", "a/b/c"] {
            assert!(text.parse::<ForwardName>().is_err(), "{text}");
        }
    }
}
