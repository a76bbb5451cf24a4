//! Two forwarders in a row: one is the parent proxy of the other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::{client, ports};

const SOON: Duration = Duration::from_secs(10);

/// What `htpasswd -nBC 5` makes of ci and open-sesame.
const USERS: &str = "ci:$2y$05$68WPkBUax4GJmZGzPkyD7O8qhcuWRb7kC54MezXQ.SWUKc7sMvpOa";

fn parent(port: u16, server: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: \"{USERS}\"}}\n---\n\
         apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: parent}}\nspec:\n  \
         listener: {{port: {port}}}\n  httpConnect:\n    \
         authentication: {{basic: {{secretRef: {{name: users}}}}}}\n    rules:\n    \
         - {{name: local, action: Allow, cidrs: [127.0.0.0/8], ports: [{}]}}\n",
        server.port()
    )
}

/// A relay and a proxy, both through the parent; an empty password: there is no Secret.
fn through(relay: u16, proxy: u16, parent: u16, server: SocketAddr, password: &str) -> String {
    let via = format!(
        "    via:\n      proxy: {{scheme: http, host: 127.0.0.1, port: {parent}}}\n      \
         credentials: {{secretRef: {{name: login}}}}\n"
    );
    let secret = match password {
        "" => String::new(),
        _ => format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\n\
             type: kubernetes.io/basic-auth\nstringData: {{username: ci, password: {password}}}\n---\n"
        ),
    };
    let relay = manifest("relay", relay, &[target("a", server, ""), via.clone()], "");
    format!(
        "{secret}{relay}apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\n\
         metadata: {{name: proxy}}\nspec:\n  listener: {{port: {proxy}, address: 127.0.0.1}}\n  \
         httpConnect:\n    rules:\n    \
         - {{name: local, action: Allow, cidrs: [127.0.0.0/8], ports: [{}]}}\n{via}",
        server.port()
    )
}

async fn connect(proxy: SocketAddr, target: SocketAddr) -> Result<String> {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let page = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client::ask(proxy, &(request + page)).await
}

/// A proxy whose way out is another one.
fn proxy_through(port: u16, parent: u16) -> String {
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: proxy}}\nspec:\n  \
         listener: {{port: {port}, address: 127.0.0.1}}\n  httpConnect:\n    rules:\n    \
         - {{name: all, action: Allow, cidrs: [127.0.0.0/8], ports: [80]}}\n    \
         via:\n      proxy: {{scheme: http, host: 127.0.0.1, port: {parent}}}\n"
    )
}

/// Each is the parent of the other: one request would go round until one of them takes no more.
#[test]
fn a_request_does_not_go_round_between_two_proxies() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let [a, b] = [ports::free()?, ports::free()?];
        let mut first = Forwarder::start(lab, &proxy_through(a.port(), b.port()), &[]).await?;
        let mut second = Forwarder::start(lab, &proxy_through(b.port(), a.port()), &[]).await?;
        let answer = connect(a, ([127, 0, 0, 1], 80).into()).await?;
        ensure!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        // Only the proxy where the circle closes knows of it.
        ensure!(answer.contains("error=destination_unavailable"), "{answer}");
        let line = first.process.says("in a circle", SOON).await?;
        ensure!(line.contains("proxy_loop_detected"), "{line}");
        second.process.says("answered 502", SOON).await?;
        first.process.says("answered 502", SOON).await?;
        let log = first.process.log()?;
        let sessions = log.lines().filter(|line| line.contains("connect_target"));
        ensure!(sessions.count() == 2, "{log}");
        Ok(())
    })
}

#[test]
fn a_parent_is_asked_with_the_password_of_the_secret_and_never_without() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Http("server".into())).await?;
        let [parent_at, relay, proxy] = [ports::free()?, ports::free()?, ports::free()?];
        let parent =
            Forwarder::start(lab, &parent(parent_at.port(), server.address()), &[]).await?;
        let text = |password| {
            let ports = (relay.port(), proxy.port(), parent_at.port());
            through(ports.0, ports.1, ports.2, server.address(), password)
        };
        let mut child = Forwarder::start(lab, &text("open-sesame"), &[]).await?;
        ensure!(client::get(relay, "/").await?.body.contains("server"));
        let answer = connect(proxy, server.address()).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        ensure!(answer.contains("server"), "{answer}");

        child.edit(&text("shut-sesame"))?;
        eventually("the other password to be refused", SOON, async || {
            let answer = connect(proxy, server.address()).await?;
            ensure!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
            ensure!(
                answer.contains("error=proxy_configuration_error"),
                "{answer}"
            );
            Ok(())
        })
        .await?;
        ensure!(client::get(relay, "/").await.is_err());
        let line = child.process.says("parent_failed", SOON).await?;
        ensure!(line.contains("407"), "{line}");

        child.edit(&text(""))?;
        child.shows("SecretNotFound", SOON).await?;
        let accepted = server.accepted();
        eventually("nobody to be asked", SOON, async || {
            ensure!(client::get(relay, "/").await.is_err());
            let answer = connect(proxy, server.address()).await?;
            ensure!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
            Ok(())
        })
        .await?;
        child
            .process
            .says("is not asked: Secret login", SOON)
            .await?;
        ensure!(server.accepted() == accepted);

        child.edit(&text("open-sesame"))?;
        eventually("the Secret to be back", SOON, async || {
            client::get(relay, "/").await.map(drop)
        })
        .await?;
        let log = child.process.log()? + &parent.process.log()?;
        let hidden = ["open-sesame", "shut-sesame", "Y2k6"];
        let shown = hidden.iter().find(|secret| log.contains(**secret));
        ensure!(shown.is_none(), "{shown:?}");
        Ok(())
    })
}
