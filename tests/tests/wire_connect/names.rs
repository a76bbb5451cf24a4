//! Names, and whom they lead to.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::tunnel::ask;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Proxy, SOON, place, rule, without_users};

const ALLOWED: [u8; 4] = [10, 77, 0, 1];
const FORBIDDEN: [u8; 4] = [10, 77, 0, 2];

/// The services of a node, of a cloud and of a cluster, and what is said of each by a rule that
/// allows any name: an address is no name, and an address that isn't public needs more than a name.
const NEARBY: [(&str, u16); 10] = [
    ("kubernetes:443", 502),
    ("kubernetes.default.svc:443", 502),
    ("metadata:80", 502),
    ("metadata.google.internal:80", 502),
    ("localhost:10250", 502),
    ("127.0.0.1:10250", 403),
    ("169.254.169.254:80", 403),
    ("[::1]:9901", 403),
    ("[fd00:ec2::254]:80", 403),
    ("10.96.0.1:443", 403),
];

async fn named(address: &str, name: &str) -> Result<Server> {
    Server::start(address, Behaviour::Name(name.to_owned())).await
}

#[test]
fn pitfall_8_the_address_that_is_dialled_is_the_one_that_was_judged() -> Result<()> {
    place(async |lab| {
        let _allowed = named("10.77.0.1:7000", "allowed").await?;
        let forbidden = named("10.77.0.2:7000", "forbidden").await?;
        let rules = rule(
            "a",
            "hosts: [flips.example], cidrs: [10.77.0.1/32], ports: [7000]",
        );
        let mut n_asked = 0;
        // Another answer to each question: whoever judges one and dials the next is fooled.
        let zone = move |_: &str| {
            n_asked += 1;
            let is_first = n_asked % 2 == 1;
            Some(Ipv4Addr::from(if is_first { ALLOWED } else { FORBIDDEN }))
        };
        let proxy = Proxy::start(lab, &without_users(&rules), zone).await?;
        let target = "flips.example:7000";
        let mut tunnel = ask(proxy.address, target, "").await?.tunnel()?;
        let mut name = String::new();
        timeout(SOON, tunnel.read_to_string(&mut name)).await??;
        ensure!(name == "allowed", "{name}");
        ensure!(proxy.dns.asked().len() == 1, "{:?}", proxy.dns.asked());
        // An answer holds for a second even if it says that it holds for none.
        let second = eventually("the other answer", SOON, async || {
            let asked = ask(proxy.address, target, "").await?;
            let n_asked = proxy.dns.asked().len();
            ensure!(n_asked > 1, "still the first");
            Ok((asked, n_asked))
        });
        let (asked, n_asked) = second.await?;
        ensure!(n_asked == 2, "{n_asked} questions for two answers");
        asked.refused(502)?;
        ensure!(forbidden.accepted() == 0, "it was dialled");
        Ok(())
    })
}

#[test]
fn pitfall_35_what_is_nearby_is_refused_unless_a_rule_names_it() -> Result<()> {
    place(async |lab| {
        let rules = rule("a", "hosts: [\"*.example\"]");
        let zone = |_: &str| Some(ALLOWED.into());
        let proxy = Proxy::start(lab, &without_users(&rules), zone).await?;
        for (target, _) in NEARBY {
            ask(proxy.address, target, "").await?.refused(403)?;
        }
        ensure!(proxy.dns.asked().is_empty(), "{:?}", proxy.dns.asked());
        Ok(())
    })
}

#[test]
fn pitfall_35_short_names_are_looked_up_as_they_are() -> Result<()> {
    place(async |lab| {
        let rules = rule("a", "hosts: [\"*\"], ports: [80, 443, 10250]");
        let zone = |name: &str| match name {
            "kubernetes." | "metadata." => None,
            "metadata.google.internal." => Some([169, 254, 169, 254].into()),
            _ => Some(ALLOWED.into()),
        };
        let proxy = Proxy::start(lab, &without_users(&rules), zone).await?;
        for (target, status) in NEARBY {
            ask(proxy.address, target, "").await?.refused(status)?;
        }
        let names = NEARBY.iter().filter(|(_, status)| *status == 502);
        let whole = names.filter_map(|(target, _)| target.split(':').next());
        // That one is known without asking (RFC 6761).
        let whole = whole.filter(|name| *name != "localhost");
        let whole: Vec<_> = whole.map(|name| format!("{name}.")).collect();
        let asked = proxy.dns.asked();
        ensure!(asked == whole, "{asked:?}");
        Ok(())
    })
}
