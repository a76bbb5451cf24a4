//! `tcpforward explain` on manifests, as a user has it: what it prints and how it exits.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::programs;

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: shop}
stringData:
  auth: |
    ci:$2y$08$Fq3uVwDkM5yTz8bXhN1CgevBWlIs2IDONlVewiuypwGnysW39S2XG
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{name: pg, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: pg, port: 5432, protocol: TCP}]
endpoints:
- {addresses: [10.2.0.7], conditions: {ready: true}}
- {addresses: [10.2.0.8], conditions: {ready: false}}
---
apiVersion: tcpforward.dev/v1alpha1
kind: TcpForward
metadata: {name: out, namespace: shop}
spec:
  listener: {port: 3128, sourceRanges: [10.0.0.0/8]}
  httpConnect:
    authentication: {basic: {secretRef: {name: users}}}
    rules:
    - {name: no-ads, action: Deny, hosts: [ads.example.com]}
    - {name: crawl, action: Allow, hosts: ["*.example.com"], subjects: [{kind: User, name: ci}]}
    - {name: site, action: Allow, cidrs: [10.1.0.0/16], ports: [443, 8443]}
    - {name: db, action: Allow, services: [{name: db}, {name: gone}], ports: [5432]}
---
apiVersion: tcpforward.dev/v1alpha1
kind: TcpForward
metadata: {name: plain, namespace: shop}
spec:
  listener: {port: 8888}
  relay: {targets: [{name: a, address: {host: 10.1.2.3, port: 80}}]}
---
apiVersion: tcpforward.dev/v1alpha1
kind: TcpForward
metadata: {name: plain, namespace: other}
spec:
  listener: {port: 8888}
  relay: {targets: [{name: a, address: {host: 10.1.2.3, port: 80}}]}
"#;

/// What `tcpforward explain` prints, both streams, and its exit code. Nothing is looked up.
fn explain(lab: &Lab, arguments: &str) -> Result<(Option<i32>, String)> {
    lab.file("all.yaml", MANIFESTS)?;
    let mut words = arguments.split_whitespace();
    let (forward, target) = (words.next().context("a forward")?, words.next());
    let program = programs::tcpforward()?
        .args(["explain", forward, target.unwrap_or_default(), "all.yaml"])
        .args(words);
    let output = program.command(lab.folder()).output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Ok((output.status.code(), printed))
}

/// Fails unless each question has that exit code and says all of that.
fn expect(cases: &[(&str, i32, &[&str])]) -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        for (arguments, expected, texts) in cases {
            let (code, printed) = explain(lab, arguments)?;
            ensure!(code == Some(*expected), "{arguments}: {code:?}: {printed}");
            for text in *texts {
                ensure!(
                    printed.contains(text),
                    "{arguments}: no {text:?} in {printed}"
                );
            }
            let is_fine = |line: &str| line.chars().count() <= 80;
            let wide = printed
                .lines()
                .find(|line| *expected < 64 && !is_fine(line));
            ensure!(wide.is_none(), "{arguments}: {wide:?}");
        }
        Ok(())
    })
}

#[test]
fn who_may_go_where_and_by_which_rule() -> Result<()> {
    expect(&[
        (
            "shop/out 10.1.0.7:8443 --as ci --from 10.9.9.9",
            0,
            &[
                "forward shop/out (Enforce), 10.1.0.7:8443 as ci from 10.9.9.9\n",
                "allowed by rule site\n  10.1.0.7  allowed by rule site\n",
            ],
        ),
        (
            "out db.example.com:443 --as ci --no-dns",
            0,
            &["not refused by its name", "only clients from 10.0.0.0/8"],
        ),
        (
            "out ads.example.com:443 --as ci",
            1,
            &[
                "refused by rule no-ads\n",
                "403 Forbidden",
                "http_request_denied",
            ],
        ),
        (
            "out db.example.com:22 --as ci",
            1,
            &["refused: no rule allows it\n"],
        ),
        (
            "out 169.254.169.254:443 --as ci",
            1,
            &["refused: no rule allows it\n"],
        ),
    ])
}

#[test]
fn where_from_and_who() -> Result<()> {
    expect(&[
        (
            "out 10.1.0.7:443 --as ci --from 192.0.2.1",
            1,
            &[
                "192.0.2.1 is in none of listener.sourceRanges",
                "source_not_allowed",
            ],
        ),
        (
            "out 10.1.0.7:443",
            1,
            &["407 Proxy Authentication Required", "--as USER"],
        ),
        (
            "out 10.1.0.7:443 --as eve",
            1,
            &["eve is none of the users", "407"],
        ),
    ])
}

#[test]
fn a_service_is_shown_with_its_backends() -> Result<()> {
    expect(&[
        (
            "out db.shop.svc.cluster.local:5432 --as ci",
            0,
            &[
                "allowed by rule db, to Service shop/db\n",
                "  10.2.0.7:5432  ready\n",
                "  10.2.0.8:5432  not ready, takes no new tunnels\n",
            ],
        ),
        (
            "out gone.shop.svc:5432 --as ci",
            1,
            &["503 Service Unavailable", "Service gone does not exist"],
        ),
    ])
}

#[test]
fn what_can_not_be_asked_is_no_refusal() -> Result<()> {
    expect(&[
        (
            "nobody example.com:443",
            64,
            &["no TcpForward nobody", "shop/out"],
        ),
        ("plain example.com:443", 64, &["other/plain", "shop/plain"]),
        ("shop/plain example.com:443", 64, &["relays", "httpConnect"]),
        ("out example.com", 64, &["the port is missing"]),
        ("out example.com:443 no-such.yaml", 69, &["no-such.yaml"]),
    ])
}

#[test]
fn programs_read_the_same() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let (code, printed) = explain(lab, "out ads.example.com:443 --as ci -o json")?;
        ensure!(code == Some(1), "{code:?}: {printed}");
        let said: Value = serde_json::from_str(&printed)?;
        ensure!(said["allowed"] == false && said["status"] == 403, "{said}");
        ensure!(said["rule"] == "no-ads", "{said}");
        Ok(())
    })
}
