//! Pure. What of a cluster is this install's, where there may be others.

use serde_json::Value;

use crate::watch::Scope;

/// What an install may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Everything: of two installs that watch all namespaces one has refused to start.
    All,
    /// What the others leave.
    Part {
        /// Whose forwards are its own.
        watched: Vec<String>,
        /// Where its operators and the pods of its pools are.
        home: String,
    },
}

impl Share {
    /// Of an install that watches these namespaces from that one.
    pub(super) fn new(scope: Scope, home: String) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Namespaces(watched) => Self::Part { watched, home },
        }
    }

    /// Whether it decides on forwards of a namespace.
    pub(super) fn has_forwards_of(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Part { watched, .. } => watched.iter().any(|one| one == namespace),
        }
    }

    /// Whether it says how a DataPlane is: of pods that connect to others it knows nothing. The spec may be
    /// one that nobody can serve; somebody has to say so.
    pub(super) fn has_pool(&self, data_plane: &Value) -> bool {
        let namespace = data_plane.pointer("/spec/podNamespace");
        match self {
            Self::All => true,
            Self::Part { home, .. } => namespace.and_then(Value::as_str) == Some(home),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(namespace: &str) -> Value {
        json!({"spec": {"podNamespace": namespace}})
    }

    #[test]
    fn who_watches_everything_is_alone() {
        let share = Share::new(Scope::All, "first".to_owned());
        assert!(share.has_forwards_of("shop"));
        assert!(share.has_pool(&pool("first")));
        assert!(share.has_pool(&pool("second")));
        assert!(share.has_pool(&json!({"spec": {}})));
    }

    #[test]
    fn who_watches_some_namespaces_has_these_and_the_pools_beside_itself() {
        let watched = vec!["games".to_owned(), "shop".to_owned()];
        let share = Share::new(Scope::Namespaces(watched), "first".to_owned());
        assert!(share.has_forwards_of("shop"));
        assert!(!share.has_forwards_of("first"));
        assert!(share.has_pool(&pool("first")));
        assert!(!share.has_pool(&pool("second")));
        assert!(!share.has_pool(&pool("shop")));
        assert!(!share.has_pool(&json!({"spec": {"podNamespace": 1}})));
        let broken = json!({"spec": {"podNamespace": "first", "serviceAccountName": ""}});
        assert!(share.has_pool(&broken));
    }
}
