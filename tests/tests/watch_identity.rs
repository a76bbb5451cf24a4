//! Operators and data planes that know each other, with tokens of a real API server: whoever is not
//! what it should be is refused on every path, and certificates change under open streams.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey};
use rustix::process::Signal;
use serde_json::{Value, json};
use tcpforward_tests::client;
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::fixtures::mk_pool;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::secure::{self, HOST};
use tcpforward_tests::stage::{self, DataPlane, Operator, SOON, Stage, ready};

const METHOD: &str = "/tcpforward.v1alpha1.ForwardSync/Subscribe";
const GRPC: &str = "application/grpc";
const UNAUTHENTICATED: u16 = 16;
const PERMISSION_DENIED: u16 = 7;
const UNAVAILABLE: u16 = 14;
const UNIMPLEMENTED: u16 = 12;

const IDENTITY: [&str; 2] = ["--server-name", HOST];

/// ServiceAccounts of two pools and of nobody, and pods of each.
fn pods() -> String {
    let accounts = ["proxy", "edge", "stranger"].map(
        |name| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
    );
    let pods = [
        ("one", "proxy"),
        ("two", "proxy"),
        ("far", "edge"),
        ("odd", "stranger"),
    ]
    .map(|(name, account)| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "serviceAccountName": account,
                "containers": [{"name": "c", "image": "nowhere/at-all"}],
            },
        })
    });
    let all = accounts.iter().chain(&pods).map(Value::to_string);
    all.collect::<Vec<_>>().join("\n---\n")
}

/// A test's cluster with such pods.
struct Known<'a> {
    stage: Stage<'a>,
    lab: &'a Lab,
}

impl<'a> Known<'a> {
    async fn new(lab: &'a Lab) -> Result<Self> {
        let stage = Stage::new(lab).await?;
        stage.apply(&pods()).await?;
        let edge = mk_pool("edge", json!({"serviceAccountName": "edge"}));
        stage.apply(&edge.to_string()).await?;
        Ok(Self { stage, lab })
    }

    async fn uid(&self, pod: &str) -> Result<String> {
        let query = ["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"];
        self.stage.kubectl(&query).await
    }

    /// A token as kubelet projects it into a pod.
    async fn token(&self, account: &str, audience: &str, pod: &str) -> Result<String> {
        let uid = self.uid(pod).await?;
        let query = [
            "create",
            "token",
            account,
            "--audience",
            audience,
            "--bound-object-kind=Pod",
            "--bound-object-name",
            pod,
            "--bound-object-uid",
            &uid,
        ];
        Ok(self.stage.kubectl(&query).await?.trim().to_owned())
    }

    async fn bundle(&self) -> Result<String> {
        let query = [
            "get",
            "configmap",
            "tcpforward-operator-ca",
            "-o",
            r"jsonpath={.data.ca\.crt}",
        ];
        eventually("the bundle to be published", SOON, async || {
            let bundle = self.stage.kubectl(&query).await?;
            ensure!(!bundle.is_empty(), "an empty one");
            Ok(bundle)
        })
        .await
    }

    /// Options of a data plane that says to be this pod and shows this token.
    async fn options(
        &self,
        operators: &[&Operator],
        pod: &str,
        (bundle, token): (&str, &str),
    ) -> Result<Vec<String>> {
        let file = |name: &str, text: &str| self.lab.file(&format!("{pod}/{name}"), text);
        let (ca, token) = (file("ca.crt", bundle)?, file("token", token)?);
        let mut options = vec!["--pod-uid".to_owned(), self.uid(pod).await?];
        for (option, path) in [("--operator-ca", ca), ("--token-file", token)] {
            options.extend([option.to_owned(), path.display().to_string()]);
        }
        for operator in operators {
            let address = format!("{HOST}:{}", operator.push.port());
            options.extend(["--operator".to_owned(), address]);
        }
        Ok(options)
    }
}

/// Signed by the API server's own key, but over since a minute.
fn expired(lab: &Lab, token: &str) -> Result<String> {
    let mut parts = token.split('.');
    let head = parts.next().context("a head")?;
    let claims = URL_SAFE_NO_PAD.decode(parts.next().context("claims")?)?;
    let mut claims: Value = serde_json::from_slice(&claims)?;
    let claims = claims.as_object_mut().context("an object")?;
    let issued = claims.get("iat").and_then(Value::as_i64).context("iat")?;
    let end = issued - 60;
    for (name, value) in [("exp", end), ("iat", end - 600), ("nbf", end - 600)] {
        claims.insert(name.to_owned(), json!(value));
    }
    let claims = serde_json::to_string(claims)?;
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = fs::read_to_string(lab.folder().join("pki/service-accounts.key"))?;
    let der = KeyPair::from_pem(&key)?.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw(&der)?)))
}

/// The two numbers of an ECDSA signature, 32 bytes each, out of their DER.
fn raw(der: &[u8]) -> Result<Vec<u8>> {
    let mut rest = der.get(2..).context("a sequence")?;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let length = usize::from(*rest.get(1).context("a length")?);
        let (number, after) = rest
            .get(2..)
            .and_then(|rest| rest.split_at_checked(length))
            .context("a number")?;
        rest = after;
        // A number of 33 bytes starts with a zero, a short one lacks some.
        let (_, number) = number.split_at(number.len().saturating_sub(32));
        numbers.extend(vec![0; 32 - number.len()]);
        numbers.extend_from_slice(number);
    }
    Ok(numbers)
}

async fn metric(operator: &Operator, line: &str) -> Result<Option<String>> {
    let page = client::get(operator.health, "/metrics").await?.body;
    let found = page.lines().find_map(|l| l.strip_prefix(line));
    Ok(found.map(|value| value.trim().to_owned()))
}

async fn connected(operator: &Operator, pool: &str) -> Result<()> {
    let line = format!("tcpforward_operator_dataplanes_connected{{pool=\"{pool}\"}}");
    eventually("a data plane to be connected", SOON, async || {
        let count = metric(operator, &line).await?;
        ensure!(count.as_deref() == Some("1"), "{count:?}");
        Ok(())
    })
    .await
}

/// A row of the table: what is shown, and what is answered.
struct Row {
    case: &'static str,
    token: Option<String>,
    code: u16,
    says: &'static str,
}

async fn rows(known: &Known<'_>) -> Result<Vec<Row>> {
    let good = known.token("proxy", "tcpforward", "one").await?;
    let row = |case, token, code, says| Row {
        case,
        token,
        code,
        says,
    };
    let elsewhere = known.token("proxy", "elsewhere", "one").await?;
    let stranger = known.token("stranger", "tcpforward", "odd").await?;
    let unbound = ["create", "token", "proxy", "--audience", "tcpforward"];
    let unbound = known.stage.kubectl(&unbound).await?.trim().to_owned();
    let gone = known.token("proxy", "tcpforward", "two").await?;
    known
        .stage
        .kubectl(&["delete", "pod", "two", "--force", "--grace-period=0"])
        .await?;
    let expired = expired(known.lab, &good)?;
    let forged = format!("{}AA", &good[..good.len() - 2]);
    Ok(vec![
        row("no token", None, UNAUTHENTICATED, "--token-file"),
        row(
            "wrong audience",
            Some(elsewhere),
            UNAUTHENTICATED,
            "audience",
        ),
        row(
            "other account",
            Some(stranger),
            PERMISSION_DENIED,
            "no data plane's",
        ),
        row(
            "unbound",
            Some(unbound),
            PERMISSION_DENIED,
            "not bound to a pod",
        ),
        row(
            "a pod that is gone",
            Some(gone),
            UNAUTHENTICATED,
            "refuses the token",
        ),
        row("expired", Some(expired), UNAUTHENTICATED, "expired"),
        row("forged", Some(forged), UNAUTHENTICATED, "refuses the token"),
    ])
}

/// Every row on the method and on a path that nobody serves, by gRPC and by plain HTTP/2.
async fn refused_everywhere(known: &Known<'_>, operator: &Operator, bundle: &str) -> Result<()> {
    for row in rows(known).await? {
        for path in [METHOD, "/nobody/serves/this"] {
            let token = row.token.as_deref();
            let answer = secure::post(operator.push, bundle, path, GRPC, token).await?;
            let said = answer.code == Some(row.code) && answer.message.contains(row.says);
            ensure!(said, "{} on {path}: {answer:?}", row.case);
            let plain = secure::post(operator.push, bundle, path, "text/plain", token).await?;
            ensure!(
                [401, 403].contains(&plain.status),
                "{}: {plain:?}",
                row.case
            );
        }
        println!("refused: {}", row.case);
    }
    Ok(())
}

#[test]
fn whoever_is_not_what_it_should_be_is_refused_on_every_path() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let known = Known::new(lab).await?;
        let operator = known.stage.operator_with(1, &IDENTITY).await?;
        let bundle = known.bundle().await?;
        refused_everywhere(&known, &operator, &bundle).await?;

        let good = known.token("proxy", "tcpforward", "one").await?;
        let path = "/nobody/serves/this";
        let answer = secure::post(operator.push, &bundle, path, GRPC, Some(&good)).await?;
        ensure!(
            answer.code == Some(UNIMPLEMENTED),
            "let through: {answer:?}"
        );

        let other = rcgen::generate_simple_self_signed([HOST.to_owned()])?
            .cert
            .pem();
        for path in [METHOD, path] {
            let refused = secure::post(operator.push, &other, path, GRPC, Some(&good)).await;
            let refused = format!("{:#}", refused.err().context("a wrong CA is trusted")?);
            ensure!(refused.contains("handshake"), "{refused}");
        }
        refused_programs(&known, &operator, (&bundle, &other), &good).await?;

        let log = operator.process.log()?;
        let signature = good.rsplit('.').next().unwrap_or_default();
        ensure!(!log.contains(signature), "a token is in the log");
        for reason in [
            "no_token",
            "account",
            "unbound",
            "token",
            "hello",
            "handshake",
        ] {
            let line =
                format!("tcpforward_operator_identity_refusals_total{{reason=\"{reason}\"}}");
            ensure!(
                metric(&operator, &line).await?.is_some(),
                "{reason} is not counted"
            );
        }
        Ok(())
    })
}

/// What only a whole data plane can get wrong: whose token it shows, its pool, and its trust.
async fn refused_programs(
    known: &Known<'_>,
    operator: &Operator,
    (bundle, other): (&str, &str),
    good: &str,
) -> Result<()> {
    let far = known.token("edge", "tcpforward", "far").await?;
    let table = [
        (
            "far",
            bundle,
            good,
            "the hello's pod is not that of the token",
        ),
        (
            "one",
            bundle,
            good,
            "the hello's pod is not that of the token",
        ),
        (
            "far",
            bundle,
            far.as_str(),
            "the hello's pool is not that of the token",
        ),
        (
            "far",
            other,
            far.as_str(),
            "it does not show a certificate for localhost",
        ),
    ];
    for (n, (pod, bundle, token, says)) in (1..).zip(table) {
        let mut options = known.options(&[operator], pod, (bundle, token)).await?;
        // Its own name, but for the row about a pod that only has the uid right.
        let name = if n == 2 { "else" } else { pod };
        options.extend(["--pod".to_owned(), name.to_owned()]);
        let mut dataplane = known.stage.dataplane_with(n, &options)?;
        dataplane.process.says(says, SOON).await?;
        let page = client::get(dataplane.health, "/readyz").await?;
        ensure!(page.status != 200, "row {n} is ready");
    }
    Ok(())
}

#[test]
fn an_outage_of_the_api_server_refuses_the_new_and_leaves_the_known() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let mut known = Known::new(lab).await?;
        let first = known.stage.operator_with(1, &IDENTITY).await?;
        let second = known.stage.operator_with(2, &IDENTITY).await?;
        let bundle = known.bundle().await?;
        let token = known.token("proxy", "tcpforward", "one").await?;
        let both = [&first, &second];
        let mut options = known.options(&both, "one", (&bundle, &token)).await?;
        options.extend(["--pod".to_owned(), "one".to_owned()]);
        let mut dataplane = known.stage.dataplane_with(1, &options)?;
        ready(dataplane.health).await?;
        // Both replicas show certificates that one bundle vouches for.
        connected(&first, "default").await?;
        connected(&second, "default").await?;

        let fresh = known.token("edge", "tcpforward", "far").await?;
        known.stage.cluster.api_server.signal(Signal::STOP)?;
        let answer = secure::post(first.push, &bundle, METHOD, GRPC, Some(&fresh)).await?;
        ensure!(answer.code == Some(UNAVAILABLE), "{answer:?}");
        ensure!(answer.message.contains("can't check tokens"), "{answer:?}");
        connected(&first, "default").await?;
        ensure!(!dataplane.process.log()?.contains("an operator is gone"));
        known.stage.cluster.api_server.signal(Signal::CONT)?;
        eventually("tokens to be checked again", SOON, async || {
            let path = "/nobody/serves/this";
            let answer = secure::post(first.push, &bundle, path, GRPC, Some(&fresh)).await?;
            ensure!(answer.code == Some(UNIMPLEMENTED), "{answer:?}");
            Ok(())
        })
        .await?;
        ensure!(dataplane.process.ended()?.is_none());
        Ok(())
    })
}

async fn nobody(operator: &Operator) -> Result<()> {
    eventually("the data plane to be sent away", SOON, async || {
        let line = "tcpforward_operator_dataplanes_connected{pool=\"default\"}";
        let count = metric(operator, line).await?;
        ensure!(count.is_none(), "{count:?}");
        Ok(())
    })
    .await
}

#[test]
fn a_pool_says_who_is_let_in_while_everything_runs() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let known = Known::new(lab).await?;
        let operator = known.stage.operator_with(1, &IDENTITY).await?;
        let bundle = known.bundle().await?;
        let token = known.token("proxy", "tcpforward", "one").await?;
        let mut options = known
            .options(&[&operator], "one", (&bundle, &token))
            .await?;
        options.extend(["--pod".to_owned(), "one".to_owned()]);
        let mut dataplane = known.stage.dataplane_with(1, &options)?;
        ready(dataplane.health).await?;
        connected(&operator, "default").await?;
        let web = stage::service("web", &["10.77.0.11:8080".parse()?]);
        let web = web + &stage::forward("web", 8888, "web");
        known.stage.apply(&web).await?;
        let served = ("Programmed", "True", "Programmed");
        known
            .stage
            .condition("web", served.0, served.1, served.2)
            .await?;

        // Another account: its pods are let in, these no longer, and they go on as they are.
        let other = mk_pool("default", json!({"serviceAccountName": "stranger"}));
        known.stage.apply(&other.to_string()).await?;
        nobody(&operator).await?;
        dataplane.process.says("no data plane's", SOON).await?;
        let listener = SocketAddr::new(dataplane.ip, 8888);
        client::dial(listener)
            .await
            .context("it serves what it has")?;
        let ours = mk_pool("default", json!({})).to_string();
        known.stage.apply(&ours).await?;
        connected(&operator, "default").await?;

        // No pool: there is nothing to serve, and that is told before the stream ends.
        known
            .stage
            .kubectl(&["delete", "dataplane", "default"])
            .await?;
        nobody(&operator).await?;
        eventually("the port to be closed", SOON, async || {
            ensure!(client::dial(listener).await.is_err(), "still open");
            Ok(())
        })
        .await?;
        known.stage.apply(&ours).await?;
        connected(&operator, "default").await?;
        known
            .stage
            .condition("web", served.0, served.1, served.2)
            .await
            .map(drop)
    })
}

/// What kubelet does with a mounted ConfigMap.
async fn follow(known: &Known<'_>, file: &PathBuf) -> Result<String> {
    let bundle = known.bundle().await?;
    let new = file.with_extension("new");
    fs::write(&new, &bundle)?;
    fs::rename(&new, file)?;
    Ok(bundle)
}

async fn shown(known: &Known<'_>, key: &str) -> Result<String> {
    let path = format!("jsonpath={{.data.{}}}", key.replace('.', r"\."));
    let query = ["get", "secret", "tcpforward-operator-tls", "-o", &path];
    known.stage.kubectl(&query).await
}

fn never_left(dataplane: &DataPlane) -> Result<()> {
    let log = dataplane.process.log()?;
    match log
        .lines()
        .find(|line| line.contains("an operator is gone"))
    {
        Some(line) => bail!("the stream was down: {line}"),
        None => Ok(()),
    }
}

#[test]
fn certificates_and_authorities_change_under_an_open_stream() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let known = Known::new(lab).await?;
        let short = ["--certificate-lifetime", "30s", "--ca-lifetime", "60s"];
        let options = [&IDENTITY[..], &short].concat();
        let mut operator = known.stage.operator_with(1, &options).await?;
        let first = known.bundle().await?;
        let token = known.token("proxy", "tcpforward", "one").await?;
        let options = known.options(&[&operator], "one", (&first, &token)).await?;
        let options = [&options[..], &["--pod".to_owned(), "one".to_owned()]].concat();
        let dataplane = known.stage.dataplane_with(1, &options)?;
        ready(dataplane.health).await?;
        let (ca, certificate) = (
            shown(&known, "signing-ca.crt").await?,
            shown(&known, "tls.crt").await?,
        );

        let file = lab.folder().join("one/ca.crt");
        let deadline = Duration::from_secs(120);
        eventually("another authority to sign", deadline, async || {
            follow(&known, &file).await?;
            ensure!(shown(&known, "signing-ca.crt").await? != ca, "not yet");
            Ok(())
        })
        .await?;
        ensure!(shown(&known, "tls.crt").await? != certificate);
        never_left(&dataplane)?;
        connected(&operator, "default").await?;

        // Who has the first bundle only is left behind, who follows is not.
        let last = known.bundle().await?;
        eventually("the new certificate to be shown", SOON, async || {
            let behind = secure::post(operator.push, &first, METHOD, GRPC, None).await;
            ensure!(behind.is_err(), "{behind:?}");
            Ok(())
        })
        .await?;
        let answer = secure::post(operator.push, &last, METHOD, GRPC, None).await?;
        ensure!(answer.code == Some(UNAUTHENTICATED), "{answer:?}");

        operator.process.kill()?;
        operator.process.restart()?;
        ready(operator.health).await?;
        connected(&operator, "default").await
    })
}
