use super::*;

const CLUSTER: Settings = Settings::new(LocalTargets::Refuse);
const LAPTOP: Settings = Settings::new(LocalTargets::Allow);

#[test]
fn pitfall_9_addresses_are_judged_in_every_spelling() {
    use Forbidden::{LinkLocal, Loopback, Metadata, Multicast, Unspecified};
    let cases = [
        ("172.16.100.101", None),
        ("10.0.0.1", None),
        ("8.8.8.8", None),
        ("fd00::1", None),
        ("2001:db8::1", None),
        ("::ffff:10.0.0.1", None),
        ("127.0.0.1", Some(Loopback)),
        ("127.255.255.254", Some(Loopback)),
        ("::1", Some(Loopback)),
        ("::ffff:127.0.0.1", Some(Loopback)),
        ("::127.0.0.1", Some(Loopback)),
        ("64:ff9b::7f00:1", Some(Loopback)),
        ("2002:7f00:1::", Some(Loopback)),
        ("0.0.0.0", Some(Unspecified)),
        ("0.1.2.3", Some(Unspecified)),
        ("::", Some(Unspecified)),
        ("169.254.1.1", Some(LinkLocal)),
        ("fe80::1", Some(LinkLocal)),
        ("224.0.0.1", Some(Multicast)),
        ("255.255.255.255", Some(Multicast)),
        ("ff02::1", Some(Multicast)),
        ("169.254.169.254", Some(Metadata)),
        ("::ffff:169.254.169.254", Some(Metadata)),
        ("64:ff9b::a9fe:a9fe", Some(Metadata)),
        ("100.100.100.200", Some(Metadata)),
        ("192.0.0.192", Some(Metadata)),
        ("168.63.129.16", Some(Metadata)),
        ("fd00:ec2::254", Some(Metadata)),
        ("169.254.170.23", Some(Metadata)),
        ("fd00:ec2::23", Some(Metadata)),
        // Other readings: NAT64 of a site, Teredo's client and server, ISATAP, site-local.
        ("64:ff9b:1::127.0.0.1", Some(Loopback)),
        ("64:ff9b:1:fffe::169.254.169.254", Some(Metadata)),
        ("64:ff9b:1:a9fe:a9:fe00::", Some(Unspecified)),
        ("2001:0:808:808:0:0:80ff:fffe", Some(Loopback)),
        ("2001:0:7f00:1:0:0:f7f7:f7f7", Some(Loopback)),
        ("2001:0:7f00:1:0:0:5601:5601", Some(Metadata)),
        ("2001:0:808:808:0:0:f7f7:f7f7", None),
        ("2001:db8::5efe:127.0.0.1", Some(Loopback)),
        ("2001:db8::200:5efe:169.254.169.254", Some(Metadata)),
        ("fe80::5efe:8.8.8.8", Some(LinkLocal)),
        ("2002:808:808::5efe:127.0.0.1", Some(Loopback)),
        ("2001:db8::100:5efe:127.0.0.1", None),
        ("fec0::1", Some(LinkLocal)),
        ("feff::1", Some(LinkLocal)),
    ];
    for (text, expected) in cases {
        let address = text.parse().unwrap();
        assert_eq!(
            check(address, &CLUSTER).err(),
            expected,
            "{text} in a cluster"
        );
        let laptop = expected.filter(|f| *f == Metadata);
        assert_eq!(check(address, &LAPTOP).err(), laptop, "{text} on a laptop");
    }
}

#[test]
fn what_the_internet_cannot_reach_is_private() {
    for text in [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "fd00::1",
        "fc00::1",
        "2001:db8::1",
        "2001:2::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        "4000::1",
        "::5",
        // Pitfall 9.
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:1::8.8.8.8",
        "2002:a00:1::",
        "2001:0:808:808:0:0:f5ff:fffe",
        "2001:0:a00:1:0:0:f7f7:f7f7",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:10.0.0.1",
        "fd12::5efe:8.8.8.8",
    ] {
        let address = text.parse().unwrap();
        assert!(
            is_private(address) && protected(address).is_none(),
            "{text}"
        );
    }
}

#[test]
fn what_is_public_or_protected_is_not_private() {
    for text in [
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2600::1",
        "2001:4860:4860::8888",
        "2a00::1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "2002:808:808::1",
        "2001:0:808:808:0:0:f7f7:f7f7",
        "2600::5efe:8.8.8.8",
        "127.0.0.1",
        "169.254.1.1",
        "100.100.100.200",
        "fd00:ec2::254",
        "fec0::1",
        "::1",
    ] {
        assert!(!is_private(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn embedded_addresses_are_unwrapped() {
    for text in [
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:fffe::10.0.0.1",
        "2002:a00:1:5::6",
        "2001:0:808:808:0:0:f5ff:fffe",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:10.0.0.1",
    ] {
        let canonical = canonical(text.parse().unwrap());
        assert_eq!(canonical.to_string(), "10.0.0.1", "{text}");
    }
    for text in ["2600::1", "64:ff9b:2::1", "::1", "::", "fd00::a00:1"] {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(readings(address), [address; 2], "{text}");
    }
}

#[test]
fn the_cluster_s_own_networks_are_for_services_in_every_spelling() {
    let ranges = [
        "10.96.0.0/16",
        "10.244.0.0/15",
        "192.168.0.7/32",
        "203.0.113.7/32",
        "fd00:96::/108",
    ];
    let settings = Settings {
        protected: Protected::new(ranges.map(|text| text.parse().unwrap())),
        ..CLUSTER
    };
    let cluster = Some(Forbidden::Cluster);
    let table = [
        ("10.96.0.1", cluster),
        ("10.97.0.1", None),
        ("10.244.255.255", cluster),
        ("10.245.0.9", cluster),
        ("10.246.0.0", None),
        ("192.168.0.7", cluster),
        ("192.168.0.8", None),
        ("203.0.113.7", cluster),
        ("fd00:96::a", cluster),
        ("fd00:97::a", None),
        ("172.16.100.101", None),
        ("8.8.8.8", None),
        // Mapped, compatible, NAT64, 6to4, Teredo (server and client) and ISATAP.
        ("::ffff:10.96.0.1", cluster),
        ("::10.96.0.1", cluster),
        ("64:ff9b::10.96.0.1", cluster),
        ("64:ff9b:1::10.96.0.1", cluster),
        ("2002:a60:1::", cluster),
        ("2001:0:a60:1::f7f7:f7f7", cluster),
        ("2001:0:808:808::f59f:fffe", cluster),
        ("2001:db8::5efe:10.96.0.1", cluster),
        ("64:ff9b::8.8.8.8", None),
        // What else is forbidden is so for its own reason.
        ("169.254.169.254", Some(Forbidden::Metadata)),
        ("127.0.0.1", Some(Forbidden::Loopback)),
    ];
    for (text, expected) in table {
        let address = text.parse().unwrap();
        assert_eq!(check(address, &settings).err(), expected, "{text}");
        let of_service = check_of(Origin::Service, address, &settings).err();
        assert_eq!(
            of_service,
            expected.filter(|f| *f != Forbidden::Cluster),
            "{text} by a Service"
        );
    }
}

#[test]
fn metadata_is_never_dialled_whatever_a_pool_allows() {
    for text in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
    ] {
        let address = text.parse().unwrap();
        for (origin, settings) in [(Origin::Author, &LAPTOP), (Origin::Service, &CLUSTER)] {
            let verdict = check_of(origin, address, settings);
            assert_eq!(verdict, Err(Forbidden::Metadata), "{text}");
        }
    }
}
