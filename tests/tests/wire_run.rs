//! `tcpforward run` as a user has it: a process, a manifest, real sockets, no Kubernetes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, BlackHole, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::process::Process;
use tcpforward_tests::{ports, programs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(10);

/// A field of `relay`, behind its targets: an ejection that a test can wait for.
const EJECT_BRIEFLY: &str = "    healthCheck: {passive: {baseEjectionTime: 1s}}\n";

/// What an edit may take, plus what a busy machine adds.
const EDIT: Duration = Duration::from_secs(3);

async fn name_of(address: SocketAddr) -> Result<String> {
    let answer = client::get(address, "/").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body.trim().to_owned())
}

async fn demo_server(lab: &Lab, name: &str, listen: &str) -> Result<(Process, SocketAddr)> {
    let program = programs::tcpforward()?.args(["demo-server", "--name", name, "--listen", listen]);
    // A log of its own for each life, or the former one's first line would be taken for this one's.
    let life = format!("{name} at {}", listen.replace(':', "-"));
    let mut process = lab.start(&life, &program)?;
    let line = process.says("listens on", SOON).await?;
    let address = line.rsplit(' ').next().context("an address")?.parse()?;
    Ok((process, address))
}

#[test]
fn three_servers_answer_in_turn_and_one_may_die() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let (mut one, a) = demo_server(lab, "one", "127.0.0.1:0").await?;
        let (_two, b) = demo_server(lab, "two", "127.0.0.1:0").await?;
        let (_three, c) = demo_server(lab, "three", "127.0.0.1:0").await?;
        let listener = ports::free()?;
        let targets = [
            target("a", a, ""),
            target("b", b, ""),
            target("c", c, ""),
            EJECT_BRIEFLY.to_owned(),
        ];
        let yaml = manifest("web", listener.port(), &targets, "");
        let _forwarder = Forwarder::start(lab, &yaml, &[]).await?;

        let mut counts = BTreeMap::new();
        for _ in 0..6 {
            *counts.entry(name_of(listener).await?).or_insert(0) += 1;
        }
        let expected = [("one", 2), ("three", 2), ("two", 2)].map(|(n, c)| (n.to_owned(), c));
        ensure!(counts == BTreeMap::from(expected), "{counts:?}");

        one.signal(Signal::KILL)?;
        one.end(SOON).await?;
        for _ in 0..30 {
            let name = name_of(listener)
                .await
                .context("while one server is dead")?;
            ensure!(name != "one");
        }
        let _again = demo_server(lab, "one", &a.to_string()).await?;
        eventually("the server that is back to be used", SOON, async || {
            let name = name_of(listener).await?;
            ensure!(name == "one", "{name}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_server_that_drops_packets_costs_one_attempt() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let live = Server::start("127.0.0.1:0", Behaviour::Http("live".to_owned())).await?;
        let hole = BlackHole::start("127.0.0.1".parse()?).await?;
        let listener = ports::free()?;
        let targets = [
            target("hole", hole.address(), ""),
            target("live", live.address(), ""),
        ];
        let yaml = manifest("web", listener.port(), &targets, "");
        let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        for _ in 0..6 {
            let answer = tokio::time::timeout(Duration::from_secs(2), name_of(listener)).await??;
            ensure!(answer == "live");
        }
        forwarder.shows("Timeout", SOON).await
    })
}

#[test]
fn an_edit_takes_effect_and_a_broken_one_does_not() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let old = Server::start("127.0.0.1:0", Behaviour::Http("old".to_owned())).await?;
        let new = Server::start("127.0.0.1:0", Behaviour::Http("new".to_owned())).await?;
        let listener = ports::free()?;
        let yaml = |server: &Server| {
            manifest(
                "web",
                listener.port(),
                &[target("a", server.address(), "")],
                "",
            )
        };
        let mut forwarder = Forwarder::start(lab, &yaml(&old), &[]).await?;
        ensure!(name_of(listener).await? == "old");
        let mut kept = client::dial(listener).await?;

        forwarder.edit(&yaml(&new))?;
        eventually("the edit to take effect", EDIT, async || {
            let name = name_of(listener).await?;
            ensure!(name == "new", "{name}");
            Ok(())
        })
        .await?;

        let broken = yaml(&old).replace("listener: {port:", "listener: {prot:");
        forwarder.edit(&broken)?;
        let line = forwarder.process.says("spec.listener.prot", EDIT).await?;
        ensure!(
            line.contains("forwards.yaml") && line.contains('5'),
            "{line}"
        );
        ensure!(name_of(listener).await? == "new");

        kept.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        let mut answer = String::new();
        kept.read_to_string(&mut answer).await?;
        ensure!(
            answer.ends_with("old\n"),
            "a session outlives edits: {answer:?}"
        );
        Ok(())
    })
}

#[test]
fn a_port_that_another_process_holds_is_refused_until_it_is_free() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Http("served".to_owned())).await?;
        let holder = TcpListener::bind("127.0.0.1:0")?;
        let (taken, free) = (holder.local_addr()?, ports::free()?);
        let targets = [target("a", server.address(), "")];
        let yaml = manifest("taken", taken.port(), &targets, "")
            + &manifest("free", free.port(), &targets, "");
        let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        ensure!(name_of(free).await? == "served", "the other forward serves");
        forwarder.shows("\"Rejected\"", SOON).await?;
        forwarder.shows(&taken.port().to_string(), SOON).await?;
        drop(holder);
        eventually(
            "the port to be taken once it is free",
            SOON * 2,
            async || {
                let name = name_of(taken).await?;
                ensure!(name == "served", "{name}");
                Ok(())
            },
        )
        .await
    })
}

#[test]
fn a_second_forwarder_on_the_same_port_is_refused() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let one = Server::start("127.0.0.1:0", Behaviour::Http("one".to_owned())).await?;
        let two = Server::start("127.0.0.1:0", Behaviour::Http("two".to_owned())).await?;
        let listener = ports::free()?;
        let yaml = |server: &Server| {
            manifest(
                "web",
                listener.port(),
                &[target("a", server.address(), "")],
                "",
            )
        };
        let _first = Forwarder::start(lab, &yaml(&one), &[]).await?;
        let second = Forwarder::start(lab, &yaml(&two), &[]).await?;
        second.shows("\"Rejected\"", SOON).await?;
        for _ in 0..20 {
            ensure!(name_of(listener).await? == "one");
        }
        Ok(())
    })
}

#[test]
fn ports_of_admin_and_of_another_forward_are_refused_by_text() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Http("served".to_owned())).await?;
        let (admin, shared) = (ports::free()?, ports::free()?);
        let targets = [target("a", server.address(), "")];
        let yaml = manifest("on-admin", admin.port(), &targets, "")
            + &manifest("a-first", shared.port(), &targets, "")
            + &manifest("b-second", shared.port(), &targets, "");
        let forwarder = Forwarder::start_at(lab, admin, &yaml, &[]).await?;
        ensure!(name_of(shared).await? == "served");
        let page = client::get(forwarder.admin, "/debug/forwards").await?.body;
        ensure!(page.matches("PortUnavailable").count() >= 2, "{page}");
        ensure!(
            page.contains("default/a-first"),
            "the winner is named: {page}"
        );
        Ok(())
    })
}

#[test]
fn a_forward_without_a_backend_resets_at_once() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let listener = ports::free()?;
        let nobody = ports::free()?;
        let yaml = manifest(
            "web",
            listener.port(),
            &[target("a", nobody, ", weight: 0")],
            "",
        );
        let _forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        // The reset may be faster than the connect that it answers.
        let reset = async {
            let mut stream = tokio::net::TcpStream::connect(listener).await?;
            stream.read(&mut [0]).await
        };
        match tokio::time::timeout(Duration::from_secs(1), reset).await? {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            other => bail!("expected a reset, got {other:?}"),
        }
    })
}

#[test]
fn a_forward_to_itself_resets_and_begets_nothing() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let listener = ports::free()?;
        let yaml = manifest("web", listener.port(), &[target("a", listener, "")], "");
        let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        ensure!(client::get(listener, "/").await.is_err());
        forwarder.shows("itself listens there", SOON).await?;
        let name = "tcpforward_dataplane_sessions_opened_total";
        let opened = client::metric(forwarder.admin, name, &["default/web"]).await?;
        ensure!(opened <= 1.0, "{opened} sessions of one");
        Ok(())
    })
}

#[test]
fn a_standby_serves_while_the_primary_is_dead() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let (mut primary, address) = demo_server(lab, "primary", "127.0.0.1:0").await?;
        let standby = Server::start("127.0.0.1:0", Behaviour::Http("standby".to_owned())).await?;
        let listener = ports::free()?;
        let targets = [
            target("primary", address, ""),
            target("standby", standby.address(), ", priority: 1"),
            EJECT_BRIEFLY.to_owned(),
        ];
        let yaml = manifest("web", listener.port(), &targets, "");
        let _forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        for _ in 0..5 {
            ensure!(name_of(listener).await? == "primary");
        }
        primary.signal(Signal::KILL)?;
        primary.end(SOON).await?;
        for _ in 0..5 {
            ensure!(name_of(listener).await? == "standby");
        }
        let _back = demo_server(lab, "primary", &address.to_string()).await?;
        eventually("the primary to be used again", SOON, async || {
            let name = name_of(listener).await?;
            ensure!(name == "primary", "{name}");
            Ok(())
        })
        .await
    })
}

#[test]
fn an_ejected_backend_is_in_the_status_with_its_error_and_a_hint() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let live = Server::start("127.0.0.1:0", Behaviour::Http("live".to_owned())).await?;
        let (dead, listener) = (ports::free()?, ports::free()?);
        let passive = "    healthCheck: {passive: {consecutiveDialFailures: 2}}\n";
        let targets = [
            target("dead", dead, ""),
            target("live", live.address(), ""),
            passive.to_owned(),
        ];
        let yaml = manifest("web", listener.port(), &targets, "");
        let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        for _ in 0..6 {
            ensure!(name_of(listener).await? == "live");
        }
        eventually("the status to say it", SOON, async || {
            let page = client::get(forwarder.admin, "/debug/forwards").await?.body;
            let page: Value = serde_json::from_str(&page)?;
            let forward = &page["forwards"][0];
            let backends = &forward["status"]["backends"];
            ensure!(backends["ejected"] == 1, "{page:#}");
            let first = &backends["unhealthy"][0];
            let address = dead.to_string();
            let words = [&first["target"], &first["reason"], &first["address"]];
            ensure!(
                words == ["dead", "ConnectionRefused", address.as_str()],
                "{first:#}"
            );
            let message = first["message"].as_str().context("a message")?;
            ensure!(message.contains("refused"), "its last error: {message}");
            ensure!(
                message.contains("does the server listen"),
                "a hint: {message}"
            );
            let shown = &forward["dataPlane"]["backends"][0];
            ensure!(shown["standing"] == "Ejected", "{shown:#}");
            ensure!(shown["ejectedUntilMs"].is_u64(), "{shown:#}");
            Ok(())
        })
        .await?;
        let name = "tcpforward_dataplane_backend_ejections_total";
        let ejections = client::metric(forwarder.admin, name, &["dead"]).await?;
        ensure!(ejections >= 1.0, "{ejections}");
        Ok(())
    })
}

#[test]
fn sigterm_lets_sessions_end() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let yaml = manifest(
            "web",
            listener.port(),
            &[target("a", server.address(), "")],
            "",
        );
        let options = ["--drain-delay", "500ms", "--drain-timeout", "20s"];
        let mut forwarder = Forwarder::start(lab, &yaml, &options).await?;
        let mut session = client::dial(listener).await?;
        session.write_all(b"before ").await?;
        eventually("the session to reach its server", SOON, async || {
            ensure!(server.open() == 1);
            Ok(())
        })
        .await?;
        forwarder.process.signal(Signal::TERM)?;
        eventually("not ready", SOON, async || {
            let ready = client::get(forwarder.admin, "/readyz").await?;
            ensure!(ready.status == 503, "{ready:?}");
            Ok(())
        })
        .await?;
        ensure!(
            client::ask(listener, "during").await? == "during",
            "it goes on accepting"
        );
        eventually("new connections to be refused", SOON, async || {
            let refused = client::dial(listener).await.is_err();
            ensure!(refused, "still accepted");
            Ok(())
        })
        .await?;
        session.write_all(b"after").await?;
        session.shutdown().await?;
        let mut all = String::new();
        session.read_to_string(&mut all).await?;
        ensure!(all == "before after", "{all:?}");
        let status = forwarder.process.end(SOON).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
fn what_does_not_end_is_cut_and_counted() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let yaml = manifest(
            "web",
            listener.port(),
            &[target("a", server.address(), "")],
            "",
        );
        let options = ["--drain-delay", "0s", "--drain-timeout", "500ms"];
        let mut forwarder = Forwarder::start(lab, &yaml, &options).await?;
        let mut session = client::dial(listener).await?;
        session.write_all(b"x").await?;
        session.read_exact(&mut [0]).await?;
        forwarder.process.signal(Signal::TERM)?;
        let status = forwarder.process.end(SOON).await?;
        ensure!(status.success(), "{status}");
        let error = session
            .read(&mut [0])
            .await
            .expect_err("a reset, not a clean end");
        ensure!(
            error.kind() == std::io::ErrorKind::ConnectionReset,
            "{error}"
        );
        let log = forwarder.process.log()?;
        ensure!(
            log.lines()
                .any(|line| line.contains("cut") && line.contains('1')),
            "{log}"
        );
        Ok(())
    })
}

/// Lines of a worker go together, but only while it is busy: by its beat the second one would come after 3 s.
#[test]
fn a_worker_with_nothing_to_do_keeps_no_line() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let target = target("a", server.address(), "");
        let yaml = manifest("lines", listener.port(), &[target], "");
        let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        for session in 1..=3 {
            let mut stream = client::dial(listener).await?;
            stream.write_all(b"x").await?;
            stream.read_exact(&mut [0]).await?;
            drop(stream);
            let what = format!("line {session}");
            eventually(&what, Duration::from_millis(2500), async || {
                let log = forwarder.process.log()?;
                let lines = log.lines().filter(|line| line.contains(" ending="));
                ensure!(lines.count() >= session, "{log}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}
