use serde_json::{Value, json};
use tcpforward_operator::index::{Event, Object};
use tcpforward_protocol::snapshot::ForwardName;

use super::*;
use crate::terminal::WIDTH;

const CONDITIONS: [&str; 5] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "BackendsAvailable",
    "Ready",
];

const HASH: &str = "7d9f8c6b5-x2x4z";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn forward(name: &str, spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward",
        "metadata": {"namespace": "shop", "name": name, "generation": 7},
        "spec": spec, "status": status,
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
           "observedGeneration": 7, "lastTransitionTime": "2026-01-02T03:00:00Z"})
}

fn good(kind: &str) -> Value {
    condition(kind, "True", kind, "fine")
}

/// Everything fine.
fn sound() -> Value {
    forward(
        "web",
        &json!({"listener": {"port": 8888, "endPort": 8899}}),
        &json!({
            "observedGeneration": 7, "programmedGeneration": 7,
            "conditions": CONDITIONS.map(good),
            "addresses": [{"type": "IPAddress", "value": "10.96.3.7", "port": 8888},
                          {"type": "IPAddress", "value": "fd00::7", "port": 8888}],
            "backends": {"total": 3, "healthy": 3, "ejected": 0, "summary": "3/3"},
            "dataPlanes": {"ready": 2, "programmed": 2, "rejected": 0, "summary": "2/2"},
        }),
    )
}

/// A pod refuses it, backends fail, and names are long.
fn broken() -> Value {
    let refused = format!("1 of 4 pods refuse it: edge-{HASH}: port 5432 is taken");
    let time =
        "dial timed out after 1s from namespace tcpforward; does a NetworkPolicy in shop allow it?";
    forward(
        "orders-database-of-the-europe-west-region-primary-and-standby",
        &json!({"dataPlaneName": "edge", "listener": {"port": 5432}}),
        &json!({
            "observedGeneration": 7, "programmedGeneration": 6,
            "conditions": [
                good("Accepted"),
                condition("ResolvedRefs", "False", "BackendNotFound", "there is no Service shop/db2"),
                condition("Programmed", "False", "Rejected", &refused),
                good("BackendsAvailable"),
                condition("Ready", "False", "BackendNotFound", "there is no Service shop/db2"),
            ],
            "backends": {"total": 12, "healthy": 10, "ejected": 1, "summary": "10/12", "unhealthy": [
                {"target": "primary", "address": "10.2.0.7:5432", "reason": "DialTimeout",
                 "message": time, "since": "2026-01-02T01:00:00Z"}]},
            "dataPlanes": {"ready": 4, "programmed": 1, "rejected": 1, "summary": "1/4", "pending": [
                {"pod": format!("edge-{HASH}"), "generation": 6, "reason": "Rejected",
                 "message": "port 5432 is taken"},
                {"pod": "edge-2", "reason": "Pending",
                 "message": "has not applied generation 7 yet"}]},
        }),
    )
}

/// What whoever may write TcpForwards, or their statuses, could do to a terminal.
fn hostile() -> Value {
    let text = "\u{1b}[2J\u{9b}1A\r\nREADY\u{202e}";
    forward(
        "evil",
        &json!({"dataPlaneName": text, "listener": {"port": 80}}),
        &json!({
            "conditions": [
                condition(text, text, text, text),
                condition("Ready", "False", text, text),
            ],
            "addresses": [{"type": text, "value": text, "port": 80}],
            "backends": {"total": 1, "healthy": 0, "ejected": 0, "summary": text, "unhealthy": [
                {"target": text, "address": text, "reason": text, "message": text,
                 "since": "2026-01-02T03:00:00Z"}]},
            "dataPlanes": {"ready": 1, "programmed": 0, "rejected": 0, "summary": text, "pending": [
                {"pod": text, "reason": text, "message": text}]},
        }),
    )
}

fn views(objects: &[Value]) -> Vec<View> {
    let mut index = tcpforward_operator::index::Index::new();
    for object in objects {
        index.apply(Event::Applied(Object::TcpForward(object.clone())));
    }
    index
        .names()
        .filter_map(|name| View::of(&index, name))
        .collect()
}

fn view(object: &Value) -> View {
    views(std::slice::from_ref(object)).remove(0)
}

fn in_shop() -> Which {
    Which::Namespace("shop".to_owned())
}

#[track_caller]
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn a_namespace_is_a_table_with_reasons() {
    let text = list::text(&views(&[sound(), broken()]), &in_shop());
    let expected = "\
NAME                                            PORT       BACKENDS  PODS  READY
orders-database-of-the-…on-primary-and-standby  5432       10/12     1/4   False
  BackendNotFound: there is no Service shop/db2
web                                             8888-8899  3/3       2/2   True
1 of 2 ready
";
    assert_eq!(text, expected, "\n{text}");
    assert_fits(&text);
}

#[test]
fn all_namespaces_are_named() {
    let text = list::text(&views(&[sound()]), &Which::All);
    let expected = "\
NAME      PORT       BACKENDS  PODS  READY
shop/web  8888-8899  3/3       2/2   True
1 of 1 ready
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_sound_forward_in_full() {
    let text = detail::text(&view(&sound()), now());
    let expected = "\
shop/web, port 8888-8899, pool default
ready, for 4m
conditions:
  Accepted=True, for 4m
  ResolvedRefs=True, for 4m
  Programmed=True, for 4m
  BackendsAvailable=True, for 4m
  Ready=True, for 4m
backends: 3 of 3 healthy
data plane pods: 2 of 2 serve generation 7
addresses: 10.96.3.7:8888, [fd00::7]:8888
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_broken_forward_in_full() {
    let text = detail::text(&view(&broken()), now());
    let expected = "\
shop/orders-database-of-the-europe-west-region-primary-and-standby, port 5432,
  pool edge
not ready, for 4m: BackendNotFound
  there is no Service shop/db2
conditions:
  Accepted=True, for 4m
  ResolvedRefs=False BackendNotFound, for 4m
  Programmed=False Rejected, for 4m
    1 of 4 pods refuse it: edge-7d9f8c6b5-x2x4z: port 5432 is taken
  BackendsAvailable=True, for 4m
  Ready=False BackendNotFound, for 4m
backends: 10 of 12 healthy, 1 left out
  10.2.0.7:5432 of target primary: DialTimeout, for 2h
    dial timed out after 1s from namespace tcpforward; does a NetworkPolicy in
      shop allow it?
  and 1 more
data plane pods: 1 of 4 serve generation 7, 1 refuses it
  edge-7d9f8c6b5-x2x4z serves generation 6: Rejected
    port 5432 is taken
  edge-2 serves none: Pending
    has not applied generation 7 yet
  and 1 more
";
    assert_eq!(text, expected, "\n{text}");
    assert_fits(&text);
}

#[test]
fn what_no_operator_has_looked_at_is_not_called_ready() {
    let cases = [
        (Value::Null, "NoStatus", "does one run"),
        (json!({}), "NoStatus", "does one run"),
        (
            json!({"conditions": [{"type": 3}]}),
            "Unreadable",
            "take the version of the operator",
        ),
        (
            json!({"observedGeneration": 6, "conditions": [
                {"type": "Ready", "status": "True", "reason": "Ready", "message": "fine",
                 "observedGeneration": 6, "lastTransitionTime": "2026-01-02T03:00:00Z"}]}),
            "Outdated",
            "generation 7 was not looked at yet, only 6, which was Ready=True Ready",
        ),
    ];
    for (status, reason, message) in cases {
        let view = view(&forward("web", &json!({}), &status));
        assert_eq!(
            (view.ready.is, view.ready.reason.as_str()),
            (Truth::Unknown, reason)
        );
        assert!(
            view.ready.message.contains(message),
            "{}",
            view.ready.message
        );
        let text = list::text(std::slice::from_ref(&view), &in_shop());
        assert!(text.contains(&format!("Unknown\n  {reason}: ")), "{text}");
        assert_fits(&text);
        let text = detail::text(&view, now());
        assert!(
            text.contains(&format!("nobody knows: {reason}\n")),
            "{text}"
        );
        assert_fits(&text);
    }
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed() {
    let hostile = hostile();
    assert_fits(&detail::text(&view(&hostile), now()));
    let views = views(&[hostile]);
    let text = list::text(&views, &in_shop());
    assert_fits(&text);
    assert_eq!(text.lines().count(), 4, "no line is forged: {text}");
    let mut known = pools(&[pool("evil", hostile_pool())], None);
    known.unread = Some("\u{1b}[2J\r\nno".to_owned());
    assert_fits(&known.table());
    assert_eq!(known.table().lines().count(), 6, "{}", known.table());
    assert_fits(&known.detail());
    assert_fits(&terminal::json(&report::of(&views, &known)));
}

#[test]
fn programs_get_every_key() {
    let printed = terminal::json(&report::of(&views(&[sound(), broken()]), &no_pools()));
    let report: Value = serde_json::from_str(&printed).unwrap();
    let ready = |kind| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "fine",
               "observedGeneration": 7, "since": "2026-01-02T03:00:00Z"})
    };
    let expected = json!({
        "namespace": "shop", "name": "web", "pool": "default", "port": 8888, "endPort": 8899,
        "generation": 7, "observedGeneration": 7, "programmedGeneration": 7,
        "ready": {"status": "True", "reason": "Ready", "message": "fine",
                  "since": "2026-01-02T03:00:00Z"},
        "conditions": CONDITIONS.map(ready),
        "addresses": [{"type": "IPAddress", "value": "10.96.3.7", "port": 8888},
                      {"type": "IPAddress", "value": "fd00::7", "port": 8888}],
        "backends": {"total": 3, "healthy": 3, "ejected": 0, "unhealthy": []},
        "dataPlanes": {"ready": 2, "programmed": 2, "rejected": 0, "pending": []},
    });
    assert_eq!(report["forwards"][1], expected);
    assert_eq!(
        report["summary"],
        json!({"total": 2, "ready": 1, "notReady": 1, "unknown": 0})
    );
    let broken = &report["forwards"][0];
    assert_eq!(broken["endPort"], Value::Null);
    assert_eq!(broken["backends"]["unhealthy"][0]["reason"], "DialTimeout");
    assert_eq!(
        broken["dataPlanes"]["pending"][1]["generation"],
        Value::Null
    );

    let unseen = views(&[forward("new", &json!({}), &Value::Null)]);
    let empty = report::of(&unseen, &no_pools());
    assert_eq!(
        keys(&empty["forwards"][0]),
        keys(&expected),
        "whatever its status"
    );
    let reason =
        "no operator has said anything of it; does one run, and does it watch this namespace?";
    assert_eq!(
        empty["forwards"][0]["ready"],
        json!({"status": "Unknown", "reason": "NoStatus", "message": reason, "since": null})
    );
}

/// A DataPlane with that status.
fn pool(name: &str, status: Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "DataPlane",
        "metadata": {"name": name, "generation": 7},
        "spec": {"podNamespace": "proxies", "serviceAccountName": name}, "status": status,
    })
}

fn pools(objects: &[Value], used_by: Option<&[View]>) -> Pools {
    let mut index = Index::new();
    for object in objects {
        index.apply(Event::Applied(Object::DataPlane(object.clone())));
    }
    Pools::of(&index, used_by, None)
}

fn no_pools() -> Pools {
    pools(&[], None)
}

fn sound_pool() -> Value {
    json!({
        "observedGeneration": 7, "conditions": [good("Accepted"), good("Ready")],
        "pods": {"ready": 2, "connected": 2, "serving": 2, "summary": "2/2"},
        "versions": [{"version": "0.1.0", "pods": 2}],
    })
}

/// One pod is missed, another one starts, and there are two versions.
fn lagging_pool() -> Value {
    let missed = format!(
        "2 of 3 pods serve; edge-{HASH} is Ready and not connected to this operator; does its log say why?"
    );
    json!({
        "observedGeneration": 7,
        "conditions": [good("Accepted"), condition("Ready", "False", "NotConnected", &missed)],
        "pods": {"ready": 3, "connected": 2, "serving": 2, "summary": "2/3", "pending": [
            {"pod": format!("edge-{HASH}"), "reason": "NotConnected",
             "message": "Ready, and not connected to this operator since 2026-01-02T03:00:00Z; does its log \
                         say why? Nobody knows what it serves"},
            {"pod": "edge-9", "reason": "NotReady", "message": "neither Ready nor connected"}]},
        "versions": [{"version": "0.1.0", "pods": 1}, {"version": "0.2.0", "pods": 1}],
    })
}

fn hostile_pool() -> Value {
    let text = "\u{1b}[2J\u{9b}1A\r\nREADY\u{202e}";
    json!({
        "conditions": [condition("Ready", "False", text, text)],
        "pods": {"ready": 1, "connected": 1, "serving": 0, "summary": text, "pending": [
            {"pod": text, "reason": text, "message": text}]},
        "versions": [{"version": text, "pods": 1}],
    })
}

#[test]
fn data_planes_are_a_table_with_what_lags() {
    let long = "a-pool-with-a-name-as-long-as-names-of-objects-may-be-in-some-houses";
    let all = [
        pool("default", sound_pool()),
        pool("edge", lagging_pool()),
        pool(long, Value::Null),
    ];
    let text = pools(&all, None).table();
    let expected = "\
DATAPLANE                                     PODS  CONNECTED  VERSION   READY
a-pool-with-a-name-as-…may-be-in-some-houses  -     -          -         Unknown
  NoStatus: no operator has said anything of it; does one run for the namespace
  of its pods?
default                                       2/2   2          0.1.0     True
edge                                          2/3   2          0.1.0 +1  False
  NotConnected: 2 of 3 pods serve; edge-7d9f8c6b5-x2x4z is Ready and not
  connected to this operator; does its log say why?
  pods that lag: edge-7d9f8c6b5-x2x4z NotConnected, edge-9 NotReady
";
    assert_eq!(text, expected, "\n{text}");
    assert_fits(&text);
}

#[test]
fn data_planes_in_full() {
    let all = [pool("default", sound_pool()), pool("edge", lagging_pool())];
    let text = pools(&all, None).detail();
    let expected = "\
DataPlane default: ready
  pods: 2 of 2 serve, 2 connected
  versions: 0.1.0 (2)
DataPlane edge: not ready: NotConnected
  2 of 3 pods serve; edge-7d9f8c6b5-x2x4z is Ready and not connected to this
    operator; does its log say why?
  pods: 2 of 3 serve, 2 connected
    edge-7d9f8c6b5-x2x4z: NotConnected
      Ready, and not connected to this operator since 2026-01-02T03:00:00Z; does
        its log say why? Nobody knows what it serves
    edge-9: NotReady
      neither Ready nor connected
  versions: 0.1.0 (1), 0.2.0 (1)
";
    assert_eq!(text, expected, "\n{text}");
    assert_fits(&text);
}

#[test]
fn only_data_planes_of_the_forwards_are_shown_and_what_is_unread_is_said() {
    let all = [pool("default", sound_pool()), pool("edge", lagging_pool())];
    let of_web = views(&[sound()]);
    let names = |pools: &Pools| {
        let known = pools.known.iter();
        known.map(|pool| pool.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&pools(&all, Some(&of_web))), ["default"]);
    assert_eq!(names(&pools(&all, Some(&[]))).len(), 0);
    assert_eq!(no_pools().table(), "");

    let unread = Pools {
        unread: Some("may not read DataPlanes; have a right given to you".to_owned()),
        ..no_pools()
    };
    let expected = "DataPlanes are not shown: may not read DataPlanes; have a right given to you\n";
    assert_eq!(
        (unread.table(), unread.detail()),
        (expected.to_owned(), expected.to_owned())
    );
    let report = report::of(&of_web, &unread);
    assert_eq!(report["dataPlanes"], Value::Null);
    assert_eq!(
        report["dataPlanesUnread"],
        "may not read DataPlanes; have a right given to you"
    );
    assert_eq!(report["summary"]["ready"], 1);
}

#[test]
fn programs_get_every_key_of_data_planes() {
    let all = [
        pool("default", sound_pool()),
        pool("edge", lagging_pool()),
        pool("new", Value::Null),
    ];
    let report = report::of(&[], &pools(&all, None));
    assert_eq!(report["dataPlanesUnread"], Value::Null);
    let pools = report["dataPlanes"].as_array().unwrap();
    let ready = |kind| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "fine",
               "observedGeneration": 7, "since": "2026-01-02T03:00:00Z"})
    };
    let conditions = ["Accepted", "Ready"].map(ready);
    let expected = json!({
        "name": "default", "generation": 7, "observedGeneration": 7,
        "ready": {"status": "True", "reason": "Ready", "message": "fine",
                  "since": "2026-01-02T03:00:00Z"},
        "conditions": conditions,
        "pods": {"ready": 2, "connected": 2, "serving": 2, "pending": []},
        "versions": [{"version": "0.1.0", "pods": 2}],
    });
    assert_eq!(pools[0], expected);
    assert_eq!(pools[1]["pods"]["pending"][1]["reason"], "NotReady");
    assert_eq!(pools[2]["pods"], Value::Null);
    assert_eq!(pools[2]["ready"]["reason"], "NoStatus");
    assert_eq!(keys(&pools[2]), keys(&expected));
}

#[test]
fn it_is_said_which_one_is_meant() {
    let args = |forward: Option<&str>, namespace: Option<&str>, all: bool| Args {
        forward: forward.map(ToOwned::to_owned),
        namespace: namespace.map(ToOwned::to_owned),
        all_namespaces: all,
        asking: Asking {
            kubeconfig: None,
            context: None,
            output: Form::Text,
        },
    };
    let one = |namespace, name| Which::One(ForwardName::new(namespace, name));
    let cases = [
        (args(None, None, false), Ok(Which::Namespace("own".into()))),
        (args(None, Some("shop"), false), Ok(in_shop())),
        (args(None, None, true), Ok(Which::All)),
        (args(Some("web"), None, false), Ok(one("own", "web"))),
        (
            args(Some("web"), Some("shop"), false),
            Ok(one("shop", "web")),
        ),
        (
            args(Some("shop/web"), Some("shop"), false),
            Ok(one("shop", "web")),
        ),
        (
            args(Some("shop/web"), Some("other"), false),
            Err("another namespace"),
        ),
        (
            args(None, Some("shop/.."), false),
            Err("--namespace is shop/.."),
        ),
        (
            args(Some("a/b/c"), None, false),
            Err("expected NAME or NAMESPACE/NAME"),
        ),
        (
            args(Some(""), None, false),
            Err("expected NAME or NAMESPACE/NAME"),
        ),
        (
            args(Some("web?x=y"), None, false),
            Err("expected NAME or NAMESPACE/NAME"),
        ),
    ];
    for (args, expected) in cases {
        match (which(&args, "own"), expected) {
            (Ok(which), Ok(expected)) => assert_eq!(which, expected),
            (Err(Trouble::Usage(text)), Err(expected)) => {
                assert!(text.contains(expected), "{text}")
            }
            (other, expected) => panic!("{args:?}: {other:?}, not {expected:?}"),
        }
    }
}

fn keys(value: &Value) -> Vec<String> {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.clone()).collect()
}
