//! Pure. A ReferenceGrant, reduced to what it says of TcpForwards and Services, and all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Key;

/// Whom a namespace lets to which of its Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// Its namespace: the only one that it can speak for.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Namespaces whose TcpForwards it lets in.
    pub from: BTreeSet<String>,
    /// To these Services; none: to all of them.
    pub to: BTreeSet<Option<String>>,
}

/// What can be known of ReferenceGrants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// The cluster has no such kind.
    Absent,
    /// The operator may not read them, or the API server doesn't hand them out.
    Unread,
    /// They are read.
    #[default]
    Seen,
}

impl ReferenceGrant {
    /// Reads one. An entry that can't be understood, or is about other kinds, permits nothing.
    #[must_use]
    pub fn read(raw: &Value) -> Self {
        let text = |field: &str| raw.pointer(field).and_then(Value::as_str);
        let entries = |field: &str| {
            let list = raw.pointer(field).and_then(Value::as_array);
            list.into_iter().flatten()
        };
        let from = entries("/spec/from").filter(|entry| is(entry, FORWARD));
        let to = entries("/spec/to").filter(|entry| is(entry, SERVICE));
        Self {
            namespace: text("/metadata/namespace").unwrap_or_default().to_owned(),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            from: from.filter_map(|entry| word(entry, "namespace")).collect(),
            to: to
                .filter_map(|entry| match entry.get("name") {
                    None | Some(Value::Null) => Some(None),
                    Some(_) => word(entry, "name").map(Some),
                })
                .collect(),
        }
    }

    fn permits(&self, from: &str, service: &str) -> bool {
        let is_to = |to: &Option<String>| to.as_ref().is_none_or(|name| name == service);
        self.from.contains(from) && self.to.iter().any(is_to)
    }
}

/// Group and kind of those who may be let in, and of what they may be let to.
const FORWARD: (&str, &str) = ("tcpforward.dev", "TcpForward");
const SERVICE: (&str, &str) = ("", "Service");

fn is(entry: &Value, (group, kind): (&str, &str)) -> bool {
    let has = |field: &str, value: &str| entry.get(field).and_then(Value::as_str) == Some(value);
    has("group", group) && has("kind", kind)
}

fn word(entry: &Value, field: &str) -> Option<String> {
    let word = entry.get(field)?.as_str()?;
    (!word.is_empty()).then(|| word.to_owned())
}

/// All grants, by namespace and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants(BTreeMap<Key, ReferenceGrant>);

impl Grants {
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.0.keys().cloned().collect()
    }

    /// By which of them TcpForwards of one namespace may go to that Service of another.
    pub(super) fn permit(
        &self,
        from: &str,
        namespace: &str,
        service: &str,
    ) -> Option<&ReferenceGrant> {
        let mut there = self.of(namespace);
        there.find(|grant| grant.permits(from, service))
    }

    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = &ReferenceGrant> {
        let first = (namespace.to_owned(), String::new());
        let from_there = self.0.range(first..);
        let there = from_there.take_while(move |((its, _), _)| its == namespace);
        there.map(|(_, grant)| grant)
    }

    /// Whose forwards may be let in now or not any more.
    pub(super) fn put(&mut self, key: Key, grant: ReferenceGrant) -> BTreeSet<String> {
        let mut concerned = grant.from.clone();
        let former = self.0.insert(key, grant.clone());
        match former {
            Some(former) if former == grant => BTreeSet::new(),
            Some(former) => {
                concerned.extend(former.from);
                concerned
            }
            None => concerned,
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> BTreeSet<String> {
        let former = self.0.remove(key);
        former.map(|former| former.from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grants(spec: Value) -> Grants {
        let raw = json!({"metadata": {"namespace": "data", "name": "g"}, "spec": spec});
        let grant = ReferenceGrant::read(&raw);
        let mut grants = Grants::default();
        grants.put((grant.namespace.clone(), grant.name.clone()), grant);
        grants
    }

    fn from(group: &str, kind: &str, namespace: &str) -> Value {
        json!({"group": group, "kind": kind, "namespace": namespace})
    }

    fn shop() -> Value {
        from("tcpforward.dev", "TcpForward", "shop")
    }

    fn check(what: &str, from: Value, to: Value, expected: bool) {
        let grants = grants(json!({"from": from, "to": to}));
        assert_eq!(
            grants.permit("shop", "data", "db").is_some(),
            expected,
            "{what}"
        );
        assert!(grants.permit("shop", "dat", "db").is_none(), "{what}");
        assert!(grants.permit("shop", "data2", "db").is_none(), "{what}");
        assert!(grants.permit("", "data", "db").is_none(), "{what}");
    }

    /// T1: who is let to what. Everything has to match to the letter.
    #[test]
    fn to_is_of_group_and_kind_and_of_a_name_if_there_is_one() {
        let service = |name: Value| json!([{"group": "", "kind": "Service", "name": name}]);
        for (what, to, expected) in [
            (
                "all Services",
                json!([{"group": "", "kind": "Service"}]),
                true,
            ),
            ("this one", service(json!("db")), true),
            ("null is absent", service(Value::Null), true),
            ("another Service", service(json!("web")), false),
            ("a name that is no name", service(json!("")), false),
            ("a name of another type", service(json!(["db"])), false),
            ("no pattern", service(json!("*")), false),
            (
                "another kind",
                json!([{"group": "", "kind": "Secret", "name": "db"}]),
                false,
            ),
            (
                "another group",
                json!([{"group": "core", "kind": "Service"}]),
                false,
            ),
            ("no group", json!([{"kind": "Service"}]), false),
            ("nothing", json!([]), false),
            ("no list", json!({"group": "", "kind": "Service"}), false),
        ] {
            check(what, json!([shop()]), to, expected);
        }
    }

    /// T1: who is let in.
    #[test]
    fn from_is_of_group_kind_and_namespace() {
        let other = || from("tcpforward.dev", "TcpForward", "other");
        let of = |namespace| json!([from("tcpforward.dev", "TcpForward", namespace)]);
        for (what, from, expected) in [
            ("this one", json!([shop()]), true),
            ("among others", json!([other(), shop()]), true),
            ("nobody", json!([]), false),
            ("another one", json!([other()]), false),
            (
                "a route",
                json!([from("gateway.networking.k8s.io", "TCPRoute", "shop")]),
                false,
            ),
            ("no group", json!([from("", "TcpForward", "shop")]), false),
            (
                "a kind in lower case",
                json!([from("tcpforward.dev", "tcpforward", "shop")]),
                false,
            ),
            (
                "our other kind",
                json!([from("tcpforward.dev", "DataPlane", "shop")]),
                false,
            ),
            ("a longer name", of("shop2"), false),
            ("a shorter name", of("sho"), false),
            ("another case", of("Shop"), false),
            ("no name", of(""), false),
            ("no pattern", of("*"), false),
            (
                "no namespace",
                json!([{"group": "tcpforward.dev", "kind": "TcpForward"}]),
                false,
            ),
            ("no list", json!("shop"), false),
        ] {
            check(
                what,
                from,
                json!([{"group": "", "kind": "Service"}]),
                expected,
            );
        }
    }

    #[test]
    fn several_grants_add_up_and_each_can_go() {
        let grant = |name: &str, from: &str| ReferenceGrant {
            namespace: "data".to_owned(),
            name: name.to_owned(),
            from: [from.to_owned()].into(),
            to: [None].into(),
        };
        let key = |name: &str| ("data".to_owned(), name.to_owned());
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let mut grants = Grants::default();
        assert_eq!(grants.put(key("a"), grant("a", "shop")), names(&["shop"]));
        assert_eq!(grants.put(key("a"), grant("a", "shop")), names(&[]));
        assert_eq!(grants.put(key("b"), grant("b", "shop")), names(&["shop"]));
        let moved = grants.put(key("a"), grant("a", "other"));
        assert_eq!(moved, names(&["other", "shop"]));
        assert!(grants.permit("shop", "data", "db").is_some());
        assert_eq!(grants.remove(&key("b")), names(&["shop"]));
        assert_eq!(grants.remove(&key("b")), names(&[]));
        assert!(grants.permit("shop", "data", "db").is_none());
        assert!(grants.permit("other", "data", "db").is_some());
    }
}
