//! A CONNECT proxy: its Services, its users, and what only the operator knows.

use tcpforward_protocol::snapshot::HttpConnect;

use super::*;

/// A proxy of namespace shop with these rules.
pub(crate) fn proxy_with(name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {
            "listener": {"port": 3128, "sourceRanges": ["10.0.0.0/8"]},
            "httpConnect": {"rules": rules},
        },
    })
}

fn services(names: &[&str], ports: &[u16]) -> Value {
    let services: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    json!([{"name": "a", "action": "Allow", "services": services, "ports": ports}])
}

impl World {
    fn users(&self, name: &str) -> Vec<&str> {
        let users = self.connect(name).users.as_ref().unwrap();
        users.iter().map(|user| user.name.as_str()).collect()
    }

    fn connect(&self, name: &str) -> &HttpConnect {
        let forward = self.outcome(name).forward.as_ref().unwrap();
        forward.spec.connect.as_ref().unwrap()
    }

    /// Reason, field and text.
    fn unresolved(&self, name: &str) -> Option<(&str, &str, &str)> {
        let unresolved = self.outcome(name).unresolved.as_ref()?;
        Some((unresolved.reason, &unresolved.field, &unresolved.message))
    }
}

#[test]
fn a_proxy_gets_the_domain_and_the_backends_of_its_services() {
    let mut world = World::of([applied(proxy_with("one", services(&["web"], &[80])))]);
    assert_eq!(world.connect("one").cluster_domain, "cluster.test");
    assert_eq!(
        world.unresolved("one"),
        Some((
            "BackendNotFound",
            "spec.httpConnect.rules[0].services[0].name",
            "spec.httpConnect.rules[0].services[0]: Service web does not exist in namespace shop; \
             create it or correct the name"
        ))
    );
    world.apply(service("web"));
    world.apply(slice("web-1", "web", &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(world.unresolved("one"), None);
    assert_eq!(world.addresses("one"), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let forward = world.outcome("one").forward.as_ref().unwrap();
    assert_eq!(forward.backends[0].target, "shop/web:80");
}

#[test]
fn a_service_is_in_order_with_one_of_a_rules_ports() {
    let db = service_with(
        "db",
        json!({"ports": [{"port": 5432}, {"port": 53, "protocol": "UDP"}]}),
    );
    let mut world = World::of([
        service("web"),
        db,
        applied(proxy_with("one", services(&["web", "db"], &[80, 5432, 53]))),
    ]);
    assert_eq!(world.unresolved("one"), None);
    world.apply(applied(proxy_with(
        "one",
        services(&["web", "db"], &[53, 80]),
    )));
    assert_eq!(
        world.unresolved("one"),
        Some((
            "UnsupportedService",
            "spec.httpConnect.rules[0].ports",
            "spec.httpConnect.rules[0].services[1]: port 53 of Service db is UDP, only TCP is \
             forwarded; its TCP ports: 5432"
        ))
    );
}

#[test]
fn a_service_of_another_namespace_needs_a_permission() {
    let rules = json!([{"name": "a", "action": "Allow", "services": [{"namespace": "other", "name": "web"}]}]);
    let world = World::of([applied(proxy_with("one", rules))]);
    let (reason, field, _) = world.unresolved("one").unwrap();
    assert_eq!(
        (reason, field),
        (
            "RefNotPermitted",
            "spec.httpConnect.rules[0].services[0].namespace"
        )
    );
    assert!(world.outcome("one").forward.is_some());
}

#[test]
fn a_pool_reports_where_it_allows_that_and_run_does() {
    let mut raw = proxy_with("one", services(&["web"], &[80]));
    raw["spec"]["httpConnect"]["mode"] = json!("Report");
    let port = proxy_with("two", services(&["web"], &[80]));
    let mut world = World::of([applied(raw.clone()), applied(port)]);
    let (reason, message) = world.rejection("one");
    assert_eq!(reason, "NotAllowedByDataPlane");
    assert!(
        message
            .starts_with("spec.httpConnect.mode is Report, which lets through what rules refuse"),
        "{message}"
    );
    assert_eq!(world.outcome("two").accepted, Ok(()), "its port is free");
    world.apply(pool("default", json!({"connectModes": "Any"})));
    assert_eq!(world.outcome("one").accepted, Ok(()));
    let mut index = Index::new();
    let touched = index.apply(applied(raw));
    let laptop = Rules {
        place: Place::Manifests,
        ..rules()
    };
    let mut compiler = Compiler::new(laptop);
    compiler.compile(&index, &touched);
    let outcome = compiler.outcome(&ForwardName::new("shop", "one")).unwrap();
    assert_eq!(outcome.accepted, Ok(()));
}

#[test]
fn users_follow_their_secret_and_without_it_nobody_gets_in() {
    let mut world = World::of([proxy("one", 3128, "users")]);
    let mut steps = Vec::new();
    let mut look = |world: &World, step: &str| {
        let reason = world.unresolved("one").map_or("", |(reason, ..)| reason);
        steps.push(format!("{step}: {} {reason}", world.users("one").join(",")));
    };
    look(&world, "alone");
    let version = world.compiler.snapshot("default").version();
    let changes = world.apply(secret("users", &["ci", "ops"]));
    assert_eq!(changes.forwards, names(&["one"]));
    assert_ne!(world.compiler.snapshot("default").version(), version);
    look(&world, "there");
    world.apply(secret("users", &["ops"]));
    look(&world, "changed");
    world.apply(secret_is(
        "users",
        Contents::of([("auth", &b"ops:plain"[..])]),
    ));
    look(&world, "broken");
    world.apply(secret("users", &["ci"]));
    look(&world, "mended");
    world.apply(secret_is("users", Contents::Forbidden));
    look(&world, "forbidden");
    world.apply(secret_is("users", Contents::Absent));
    look(&world, "absent");
    world.apply(secret("users", &["ci"]));
    world.apply(gone(Kind::Secret, "users"));
    look(&world, "gone");
    assert_eq!(
        steps,
        [
            "alone:  SecretNotFound",
            "there: ci,ops ",
            "changed: ops ",
            "broken:  InvalidSecret",
            "mended: ci ",
            "forbidden:  SecretNotPermitted",
            "absent:  SecretNotFound",
            "gone:  SecretNotFound",
        ]
    );
}

#[test]
fn what_is_wrong_with_a_secret_says_what_to_do() {
    let mut world = World::of([proxy("one", 3128, "users")]);
    let mut message = |data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, text)| (*key, text.as_bytes()));
        world.apply(secret_is("users", Contents::of(data)));
        world.unresolved("one").unwrap().2.to_owned()
    };
    let start = "nobody gets in: Secret users of namespace shop";
    assert_eq!(
        message(&[("users", "ci:x")]),
        format!("{start} has no key auth; write the lines of htpasswd there")
    );
    assert_eq!(
        message(&[("auth", "# none\nci:hidden")]),
        format!(
            "{start} is broken: in key auth, line 2 has no hash of bcrypt; make the line with \
             `htpasswd -nB NAME`"
        )
    );
    assert_eq!(
        message(&[("auth", "")]),
        format!(
            "{start} is broken: key auth has no user; write a line for each, as `htpasswd -nB \
             NAME` prints it"
        )
    );
    world.apply(secret_is("users", Contents::Forbidden));
    assert_eq!(
        world.unresolved("one").unwrap().2,
        "nobody gets in: the operator may not read Secret users; give it a Role in namespace shop \
         with list and watch of secrets, resourceNames [users]"
    );
}

#[test]
fn a_parent_is_asked_only_with_all_that_its_secrets_hold() {
    let mut raw = proxy_with("one", json!([{"name": "all", "action": "Allow"}]));
    raw["spec"]["httpConnect"]["via"] = json!({
        "proxy": {"scheme": "https", "host": "proxy.corp", "port": 3128},
        "credentials": {"secretRef": {"name": "parent"}},
        "caSecretRef": {"name": "ca"},
    });
    let mut world = World::of([applied(raw)]);
    let via = |world: &World| {
        let forward = world.outcome("one").forward.as_ref().unwrap();
        forward.spec.via.clone().unwrap()
    };
    let (reason, field, message) = world.unresolved("one").unwrap();
    assert_eq!(reason, "SecretNotFound");
    assert_eq!(field, "spec.httpConnect.via.credentials.secretRef.name");
    assert_eq!(
        message,
        "the parent proxy is not asked: Secret parent does not exist in namespace shop; create it \
         with the keys username and password, or correct the name"
    );
    assert_eq!(via(&world).unusable.as_deref(), Some(message));
    let login = [("username", &b"team"[..]), ("password", b"hunter2")];
    world.apply(secret_is("parent", Contents::of(login)));
    let (reason, field, _) = world.unresolved("one").unwrap();
    assert_eq!(
        (reason, field),
        ("SecretNotFound", "spec.httpConnect.via.caSecretRef.name")
    );
    let made = rcgen::generate_simple_self_signed(["proxy.corp".to_owned()]).unwrap();
    let pem = made.cert.pem();
    world.apply(secret_is("ca", Contents::of([("ca.crt", pem.as_bytes())])));
    assert_eq!(world.unresolved("one"), None);
    let whole = via(&world);
    assert_eq!((whole.unusable, whole.ca), (None, Some(pem)));
    assert_eq!(whole.credentials.unwrap().password, "hunter2");
    for (secret, contents, expected) in [
        (
            "ca",
            Contents::of([("ca.crt", &b"none"[..])]),
            "InvalidSecret",
        ),
        ("parent", Contents::Forbidden, "SecretNotPermitted"),
        (
            "parent",
            Contents::of([("username", &b"a:b"[..]), ("password", b"x")]),
            "InvalidSecret",
        ),
        (
            "parent",
            Contents::of([("username", &b"a"[..]), ("password", b"hunter2\n")]),
            "InvalidSecret",
        ),
    ] {
        world.apply(secret_is(secret, contents));
        let (reason, _, message) = world.unresolved("one").unwrap();
        assert_eq!(reason, expected, "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert!(via(&world).unusable.is_some());
    }
}
