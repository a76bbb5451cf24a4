//! A CONNECT proxy as its clients have it: `tcpforward run`, real clients, and the pitfalls that show
//! only there. Numbers are those of docs/reference/connect-pitfalls.md.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::client;
use tcpforward_tests::dns::{Dns, Zone};
use tcpforward_tests::forwarder::Forwarder;
use tcpforward_tests::lab::{self, Lab, Network};

#[path = "wire_connect/changes.rs"]
mod changes;
#[path = "wire_connect/clients.rs"]
mod clients;
#[path = "wire_connect/names.rs"]
mod names;
#[path = "wire_connect/peers.rs"]
mod peers;

/// Where the proxy listens: each namespace is a test's own.
const PROXY: &str = "127.0.0.1:8080";

/// Who may, by the password below.
const USER: &str = "ci:open-sesame";
const PASSWORD: &str = "open-sesame";
const WRONG: &str = "shut-sesame";

/// What `htpasswd -nBC 5` makes of it.
const USERS: &str = "ci:$2y$05$68WPkBUax4GJmZGzPkyD7O8qhcuWRb7kC54MezXQ.SWUKc7sMvpOa";

const SOON: Duration = Duration::from_secs(10);

/// A proxy, and the DNS server that it asks.
struct Proxy {
    forwarder: Forwarder,
    dns: Dns,
    address: SocketAddr,
}

/// Runs a test in a namespace of its own.
fn place(test: impl AsyncFnOnce(&Lab) -> Result<()> + Send) -> Result<()> {
    lab::raise_descriptors()?;
    lab::run(Network::Namespace, test)
}

/// The manifests of a proxy that asks who its clients are; `users` are lines of htpasswd, `rules`
/// lines of YAML.
fn with_users(users: &str, rules: &str) -> String {
    let basic = "    authentication: {basic: {secretRef: {name: users}}}\n";
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: \"{users}\"}}\n---\n"
    );
    secret + &open(&format!("{basic}{}", indented(rules)))
}

/// The manifest of a proxy that takes whoever is on its host.
fn without_users(rules: &str) -> String {
    open(&indented(rules))
}

fn indented(rules: &str) -> String {
    format!("    rules:\n{rules}")
}

fn open(fields: &str) -> String {
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: proxy}}\nspec:\n  \
         listener: {{port: 8080, address: 127.0.0.1}}\n  httpConnect:\n{fields}"
    )
}

/// A rule; `fields` are what it holds for.
fn rule(name: &str, fields: &str) -> String {
    format!("    - {{name: {name}, action: Allow, {fields}}}\n")
}

impl Proxy {
    /// Starts it and waits until it takes connections.
    async fn start(lab: &Lab, manifest: &str, zone: impl Zone) -> Result<Self> {
        let dns = Dns::start(zone).await?;
        let server = dns.address().to_string();
        let options = ["--dns-server", &server, "--threads", "2"];
        let forwarder = Forwarder::start(lab, manifest, &options).await?;
        let proxy = Self {
            forwarder,
            dns,
            address: PROXY.parse()?,
        };
        let up = proxy.metric("forwards_serving").await?;
        ensure!(up >= 1.0, "{}", proxy.page("/debug/forwards").await?);
        Ok(proxy)
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        let name = format!("tcpforward_dataplane_{name}");
        client::metric(self.forwarder.admin, &name, &[]).await
    }

    async fn page(&self, path: &str) -> Result<String> {
        let answer = client::get(self.forwarder.admin, path).await;
        Ok(answer.with_context(|| path.to_owned())?.body)
    }

    /// All that it says to anybody but the client.
    async fn words(&self) -> Result<String> {
        let mut words = self.forwarder.process.log()?;
        for path in ["/metrics", "/debug/forwards", "/readyz"] {
            words += &self.page(path).await?;
        }
        Ok(words)
    }
}
