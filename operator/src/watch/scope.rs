//! Pure. Which namespaces an operator looks at.

use kube::Api;

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// Only these.
    Namespaces(Vec<String>),
}

pub(super) fn apis<K>(scope: &Scope, api: impl Fn(Option<&str>) -> Api<K>) -> Vec<Api<K>> {
    match scope {
        Scope::All => vec![api(None)],
        Scope::Namespaces(names) => names.iter().map(|name| api(Some(name))).collect(),
    }
}
