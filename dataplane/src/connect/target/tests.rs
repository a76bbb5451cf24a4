use super::*;

#[test]
fn targets_are_read_in_one_way() {
    let long = format!("{}.example:1", "a".repeat(63));
    let longest = format!("{}c:1", "a.".repeat(126));
    let cases = [
        ("example.com:443", "example.com:443"),
        // Pitfall 12.
        ("EXAMPLE.com.:443", "example.com:443"),
        ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
        ("localhost:1", "localhost:1"),
        ("_x._tcp.a-b.example:65535", "_x._tcp.a-b.example:65535"),
        ("1.example:443", "1.example:443"),
        ("10.0.0.1:443", "10.0.0.1:443"),
        ("0.0.0.0:443", "0.0.0.0:443"),
        ("[::1]:443", "[::1]:443"),
        ("[2001:DB8:0::1]:443", "[2001:db8::1]:443"),
        ("[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]:443"),
        (&long, &long),
        (&longest, &longest),
    ];
    for (text, expected) in cases {
        let target = Target::parse(text.as_bytes()).map(|target| target.to_string());
        assert_eq!(target.as_deref(), Ok(expected), "{text}");
    }
}

/// Pitfalls 10 to 14 and 27.
const REFUSED: [(&str, NotATarget); 62] = {
    use NotATarget::{Brackets, Characters, Empty, Form, Length, NoPort, Number, Port, User, Zone};
    [
        ("", NoPort),
        (":", Empty),
        (":443", Empty),
        ("h", NoPort),
        ("h:", NoPort),
        ("[::1]", NoPort),
        ("[::1]:", NoPort),
        ("[::1]443", NoPort),
        ("h:0", Port),
        ("h:-1", Port),
        ("h:+443", Port),
        ("h:0443", Port),
        ("h:00", Port),
        ("h:65536", Port),
        // Pitfall 27.
        ("h:65979", Port),
        ("h:18446744073709552059", Port),
        ("h:https", Port),
        ("h:4 43", Characters),
        ("h:443 ", Characters),
        ("h:0x1bb", Port),
        ("/x:80", Form),
        ("*", Form),
        ("*.example.com:443", Form),
        ("http://h:80", Form),
        ("h:80/", Form),
        ("h?:80", Form),
        ("h#:80", Form),
        // Pitfall 10.
        ("127.1:80", Number),
        ("2130706433:80", Number),
        ("0177.0.0.1:80", Number),
        ("0x7f.1:80", Number),
        ("0x7f000001:80", Number),
        ("1.2.3.4.5:80", Number),
        ("1.2.3:80", Number),
        ("1.2.3.256:80", Number),
        ("01.2.3.4:80", Number),
        ("1.2.3.4.:80", Number),
        ("example.1a:80", Number),
        ("example.-a:80", Number),
        // Pitfall 11.
        ("[example.com]:443", Brackets),
        ("[127.0.0.1]:443", Brackets),
        ("[]:443", Brackets),
        ("[::1:443", Brackets),
        ("::1:443", Brackets),
        ("::1]:443", Brackets),
        ("[[::1]]:443", Brackets),
        ("a:b:443", Brackets),
        ("[::g]:443", Brackets),
        ("[1::2::3]:443", Brackets),
        // Pitfall 13.
        ("[fe80::1%eth0]:443", Zone),
        ("[::1%25.example.com]:443", Zone),
        ("ex%61mple.com:443", Zone),
        // Pitfall 14.
        ("ok.com@evil:443", User),
        ("user:password@h:443", User),
        // Pitfall 12: U-labels.
        ("bücher.example:443", Characters),
        ("ex ample.com:443", Characters),
        ("a\u{7f}:443", Characters),
        ("a\0:443", Characters),
        ("a\tb:443", Characters),
        ("a,b:443", Characters),
        ("example.com..:443", Length),
        (".example.com:443", Length),
    ]
};

#[test]
fn pitfalls_10_to_14_and_27_what_could_be_read_in_two_ways_is_refused() {
    for (text, expected) in REFUSED {
        assert_eq!(Target::parse(text.as_bytes()), Err(expected), "{text:?}");
    }
    let bytes = Target::parse(b"a\xff:443");
    assert_eq!(bytes, Err(NotATarget::Characters));
    let label = format!("{}.example:1", "a".repeat(64));
    let name = format!("{}cc:1", "a.".repeat(126));
    for text in [label, name] {
        assert_eq!(Target::parse(text.as_bytes()), Err(NotATarget::Length));
    }
}

#[test]
fn only_full_names_are_services() {
    let service = |host: &str| {
        let host = Host::Name(host.to_owned());
        let service = host.service("cluster.local")?;
        Some(format!("{}/{}", service.namespace, service.name))
    };
    for host in ["db.shop.svc", "db.shop.svc.cluster.local"] {
        assert_eq!(service(host).as_deref(), Some("shop/db"), "{host}");
    }
    for host in [
        "db",
        "db.shop",
        "db.shop.svc.cluster",
        "db.shop.svc.cluster.local.example",
        "db.shop.svc.example",
        "db.shop.svccluster.local",
        "db.shop.svcs",
        "0.db.shop.svc",
        "-db.shop.svc",
        "db.shop-.svc",
        "_db.shop.svc",
        "shop.svc.cluster.local",
        "svc",
    ] {
        assert_eq!(service(host), None, "{host}");
    }
    assert_eq!(Host::Address([10, 0, 0, 1].into()).service("x"), None);
}
