use super::*;
use crate::index::Contents;

const FORWARD: &str = "\
apiVersion: tcpforward.dev/v1alpha1
kind: TcpForward
metadata: {name: web}
spec:
  listener:
    port: 8888
  relay:
    targets:
    - {name: a, service: {name: web, port: http}}
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  ports:
  - {name: http, port: 80, targetPort: 8080}
";

fn titles(parsed: &Parsed) -> Vec<String> {
    let title = |l: &Located| format!("{} {}", l.line, object::title(&l.object));
    parsed.objects.iter().map(title).collect()
}

/// The one finding of a text, in words.
#[track_caller]
fn finding(text: &str) -> String {
    let parsed = parse("f.yaml", text);
    let words: Vec<String> = parsed.findings.iter().map(Finding::to_string).collect();
    assert_eq!(words.len(), 1, "{words:#?}");
    words.concat()
}

#[test]
fn documents_become_objects_with_their_lines() {
    let text = format!("# a comment\n---\n{FORWARD}---\n---\n{SERVICE}...\n");
    let parsed = parse("f.yaml", &text);
    assert_eq!(parsed.findings, []);
    assert_eq!(
        titles(&parsed),
        ["3 TcpForward default/web", "14 Service shop/web"]
    );
}

#[test]
fn json_and_lists_are_manifests_too() {
    let parsed = parse("f.yaml", FORWARD);
    let Object::TcpForward(raw) = &parsed.objects[0].object else {
        panic!("a TcpForward")
    };
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [raw]});
    let listed = parse("f.json", &serde_json::to_string_pretty(&list).unwrap());
    assert_eq!(listed.findings, []);
    assert_eq!(listed.objects[0].object, parsed.objects[0].object);
}

#[test]
fn a_finding_is_where_the_field_is() {
    assert_eq!(
        finding(&FORWARD.replace("8888", "70000")),
        "f.yaml:6:5: TcpForward default/web: spec.listener.port is 70000: is out of bounds; write \
         a whole number from 1 to 65535"
    );
    assert_eq!(
        finding(&FORWARD.replace("port: http", "prt: http, port: 80")),
        "f.yaml:9:38: TcpForward default/web: spec.relay.targets[0].service.prt is \"http\": \
         unknown field; known here are name, namespace, port"
    );
    assert_eq!(
        finding(&SERVICE.replace("targetPort", "targetport")),
        "f.yaml:8:28: Service shop/web: spec.ports[0].targetport is 8080: unknown field; check \
         the spelling, or take it out"
    );
}

#[test]
fn a_field_that_is_not_there_is_where_it_should_be() {
    assert_eq!(
        finding(&FORWARD.replace("    port: 8888\n", "    {}\n")),
        "f.yaml:5:3: TcpForward default/web: spec.listener.port: is required; write a whole \
         number from 1 to 65535"
    );
}

#[test]
fn what_is_not_yaml_has_a_line() {
    let words = finding(&format!("{SERVICE}---\nspec: [1, 2\nkind: x\n"));
    assert!(words.starts_with("f.yaml:1"), "{words}");
    assert!(words.contains("this is not YAML: "), "{words}");
    let parsed = parse("f.yaml", &format!("{SERVICE}---\n\tx: 1\n"));
    assert_eq!(titles(&parsed), ["1 Service shop/web"]);
    assert_eq!(parsed.findings[0].line, 10);
}

#[test]
fn what_is_no_object_of_ours_is_said() {
    let kinds = "known are TcpForward and DataPlane of tcpforward.dev/v1alpha1, Service, Secret, Namespace \
                 and List of v1, EndpointSlice of discovery.k8s.io/v1, and ReferenceGrant of \
                 gateway.networking.k8s.io/v1 or v1beta1; take everything else out";
    for (text, expected) in [
        (
            "just text",
            "f.yaml:1:1: a manifest is an object with apiVersion, kind and metadata; write these, \
             or take the document out"
                .to_owned(),
        ),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}",
            format!(
                "f.yaml:1:1: ConfigMap default/x: kind is \"ConfigMap\": this kind is not used here; {kinds}"
            ),
        ),
        (
            "kind: TcpForward\napiVersion: tcpforward.dev/v1\nmetadata: {name: x}",
            format!(
                "f.yaml:2:1: TcpForward default/x: apiVersion is \"tcpforward.dev/v1\": this \
                 version of TcpForward is not known; {kinds}"
            ),
        ),
        (
            "kind: Service\nmetadata: {name: x}",
            format!("f.yaml:1:1: Service default/x: apiVersion: apiVersion is required; {kinds}"),
        ),
    ] {
        assert_eq!(finding(text), expected);
    }
}

#[test]
fn a_secret_is_read_as_the_api_server_reads_it() {
    let hash = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232";
    let users = |text: &str| {
        let parsed = parse(
            "f.yaml",
            &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\n{text}"),
        );
        assert_eq!(parsed.findings, []);
        let Object::Secret(secret) = &parsed.objects[0].object else {
            panic!("a Secret")
        };
        assert_eq!(
            (secret.namespace.as_str(), secret.name.as_str()),
            ("default", "users")
        );
        match &secret.contents {
            Contents::Read(held) => match &held.users {
                Ok(users) => users.iter().map(|u| u.name.clone()).collect(),
                Err(why) => vec![format!("{why:?}")],
            },
            other => vec![format!("{other:?}")],
        }
    };
    assert_eq!(
        users(&format!("stringData: {{auth: 'ci:{hash}'}}\n")),
        ["ci"]
    );
    // `ci:` and the hash in base64, over two lines as the tool prints it.
    let encoded = "Y2k6JDJ5JDA1JGFiY2RlZmdoaWprbG1ub3BxcnN0dXVBQkNERUZHSElKS0xN\n    \
                   Tk9QUVJTVFVWV1hZWjAxMjMy";
    let data = format!("type: Opaque\nimmutable: true\ndata:\n  auth: |\n    {encoded}\n");
    assert_eq!(users(&data), ["ci"]);
    let both = format!("stringData: {{auth: 'ops:{hash}'}}\n{data}");
    assert_eq!(users(&both), ["ops"]);
    assert_eq!(users("data: null\n"), ["KeyNotFound"]);
}

#[test]
fn no_finding_shows_what_a_secret_holds() {
    let text = "\
apiVersion: v1
kind: Secret
metadata: {name: users, hidden-1: hidden-2}
data: {auth: hidden-3!, more: [hidden-4]}
stringData: {auth: 5551, map: {hidden-5: hidden-6}}
stringdata: {auth: hidden-7}
type: [hidden-8]
";
    let findings = parse("f.yaml", text).findings;
    let words: Vec<String> = findings.iter().map(Finding::to_string).collect();
    let fields: Vec<&str> = findings.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "metadata.hidden-1",
            "data.auth",
            "data.more",
            "stringdata",
            "type",
            "stringData.auth",
            "stringData.map",
        ],
        "{words:#?}"
    );
    assert!(words[1].starts_with("f.yaml:4:8: Secret default/users: data.auth: is not base64"));
    let words = words.concat().replace("hidden-1", "");
    assert!(
        !words.contains("hidden") && !words.contains("5551"),
        "{words}"
    );
}

#[test]
fn one_object_twice_is_a_finding() {
    assert_eq!(
        finding(&format!("{FORWARD}---\n{FORWARD}")),
        "f.yaml:11:1: TcpForward default/web: metadata.name is \"web\": the same object is at \
         f.yaml:1, too; take one out, or give it another name"
    );
    let both = gather(vec![parse("a.yaml", SERVICE), parse("b.yaml", SERVICE)]);
    assert_eq!(both.objects.len(), 1);
    assert!(
        both.findings[0].message.contains("a.yaml:1"),
        "{:?}",
        both.findings
    );
}

#[test]
fn yaml_that_kubectl_refuses_is_refused() {
    assert_eq!(
        finding(&FORWARD.replace("    port: 8888\n", "    port: 8888\n    port: 8889\n")),
        "f.yaml:7:5: port: the key \"port\" is there twice; take one out"
    );
    let base = "base: &b {x: 1}\n<<: *b\n";
    assert!(finding(base).contains("merge keys are not supported"));
}

#[test]
fn anchors_are_followed_within_bounds() {
    let shared = FORWARD.replace("port: http", "port: &p http").replace(
        "    - {",
        "    - {name: b, service: {name: other, port: x}}\n    - {",
    );
    let parsed = parse(
        "f.yaml",
        &format!("{shared}    - {{name: c, service: {{name: d, port: *p}}}}\n"),
    );
    assert_eq!(parsed.findings, []);

    let mut laughs = "a0: &a0 [x]\n".to_owned();
    for i in 1..40 {
        laughs += &format!("a{i}: &a{i} [*a{}, *a{}]\n", i - 1, i - 1);
    }
    assert!(finding(&laughs).contains("too many values"));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(finding(&deep).contains("too deeply"));
}

#[test]
fn services_and_slices_are_checked_as_far_as_they_matter() {
    let slice = "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\nmetadata: {name: s}\n";
    for (text, expected) in [
        (
            SERVICE.replace("port: 80,", "port: 0,"),
            "spec.ports[0].port is 0: is out of bounds",
        ),
        (
            SERVICE.replace("port: 80,", "port: x,"),
            "invalid type: string \"x\", expected i32",
        ),
        (
            SERVICE.replace("port: 80,", "port: 80, protocol: tcp,"),
            "spec.ports[0].protocol is \"tcp\": is not one of the values",
        ),
        (
            SERVICE.replace("  name: web\n", "  name: Web\n"),
            "metadata.name is \"Web\": must be",
        ),
        (
            format!("{slice}endpoints: []\n"),
            "addressType is \"\": is not one of the values",
        ),
        (
            format!("{slice}endpoints: []\naddressType: IP\n"),
            "addressType is \"IP\"",
        ),
        (
            format!("{slice}addressType: IPv4\nendpoints: [{{addresses: [web]}}]\n"),
            "endpoints[0].addresses[0] is \"web\": is no IPv4 address",
        ),
    ] {
        let words = finding(&text);
        assert!(words.contains(expected), "{words}");
    }
}

const GRANT: &str = "kind: ReferenceGrant\napiVersion: gateway.networking.k8s.io/v1\nmetadata: \
                 {name: g, namespace: data}\nspec:\n  from:\n  - {group: tcpforward.dev, kind: \
                 TcpForward, namespace: shop}\n  to:\n  - {group: \"\", kind: Service, name: db}\n";

#[test]
fn grants_are_read_by_the_schema_of_gateway_api() {
    for text in [
        GRANT.to_owned(),
        GRANT.replace("io/v1", "io/v1beta1"),
        GRANT.replace(", name: db", ""),
        GRANT.replace(", name: db", ", name: null"),
    ] {
        let parsed = parse("f.yaml", &text);
        assert_eq!(parsed.findings, []);
        let Object::ReferenceGrant(read) = &parsed.objects[0].object else {
            panic!("{parsed:?}")
        };
        assert_eq!((read.from.len(), read.to.len()), (1, 1));
    }
    let foreign = GRANT.replace("tcpforward.dev", "gateway.networking.k8s.io");
    assert_eq!(
        parse("f.yaml", &foreign).findings,
        [],
        "it may be about other kinds"
    );
}

#[test]
fn a_grant_has_at_most_sixteen_entries() {
    let many = "  - {group: \"\", kind: Service}\n".repeat(16);
    assert!(finding(&(GRANT.to_owned() + &many)).contains("spec.to: has 17 entries"));
}

#[test]
fn a_grant_that_makes_no_sense_says_where() {
    for (from, to, expected) in [
        (
            "io/v1",
            "io/v1alpha2",
            "this version of ReferenceGrant is not known",
        ),
        (
            "spec:",
            "status: {}\nspec:",
            "f.yaml:4:1: ReferenceGrant data/g: status is {}",
        ),
        (
            "  from:",
            "  form: []\n  from:",
            "spec.form is []: unknown field",
        ),
        (
            "namespace: shop",
            "namespaces: [shop]",
            "spec.from[0].namespaces",
        ),
        (
            "namespace: shop",
            "namespace: \"*\"",
            "spec.from[0].namespace is \"*\": is not valid",
        ),
        (
            "group: tcpforward.dev, ",
            "",
            "spec.from[0].group: is required",
        ),
        (
            "group: \"\"",
            "group: null",
            "spec.to[0].group: is required",
        ),
        (
            "name: db",
            "name: \"\"",
            "spec.to[0].name is \"\": is not valid",
        ),
        (
            "name: db",
            "namespace: db",
            "spec.to[0].namespace is \"db\": unknown field",
        ),
        ("  to:\n  -", "  to:", "spec.to is {"),
    ] {
        let text = GRANT.replace(from, to);
        let found = parse("f.yaml", &text).findings;
        let words: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(
            words.iter().any(|w| w.contains(expected)),
            "{expected}: {words:?}"
        );
    }
}

/// Files of a folder of the repository, with their text.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// A real API server is asked the same in `tests/tests/admit_tcpforward.rs`.
#[test]
fn every_case_is_judged_as_it_says() {
    let cases = files("testdata/admit");
    assert!(cases.len() > 60, "only {}", cases.len());
    for (path, text) in cases {
        let parsed = parse("case.yaml", &text);
        let mut lines = text.lines();
        let Some(field) = lines.next().unwrap().strip_prefix("# refused: ") else {
            assert!(text.starts_with("# accepted\n"), "{path}");
            assert_eq!(
                (parsed.findings.as_slice(), parsed.objects.len()),
                (&[][..], 1),
                "{path}"
            );
            continue;
        };
        let says = lines.next().unwrap().strip_prefix("# says: ").unwrap();
        let fields: Vec<&str> = parsed.findings.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, [field], "{path}");
        let words = parsed.findings[0].to_string();
        assert!(
            words.contains(says),
            "{path}\n  says     {words}\n  expected {says}"
        );
    }
}

#[test]
fn every_example_is_fine_and_none_takes_anothers_place() {
    let mut all = Vec::new();
    for (folder, number) in [("../examples", 23), ("../examples/local", 21)] {
        let examples = files(folder);
        assert_eq!(examples.len(), number, "{folder}");
        all.extend(examples.iter().map(|(path, text)| parse(path, text)));
    }
    let all = gather(all);
    assert_eq!(all.findings, []);
    let forwards = all
        .objects
        .iter()
        .filter(|l| l.object.kind() == Kind::TcpForward);
    assert_eq!(forwards.count(), 46);
}
