//! Socket options, from the manifest to the kernel and back to the status.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::ports;
use tcpforward_tests::process::Program;
use tcpforward_tests::programs::{self, workspace_root};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_option_that_the_kernel_refuses_is_told_and_what_was_there_goes_on() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let with = |tcp: &str| {
            let targets = [target("a", server.address(), "")];
            let yaml = manifest("web", listener.port(), &targets, "");
            yaml.replace("  relay:\n", &format!("  relay:\n    tcp: {tcp}\n"))
        };
        let forwarder = Forwarder::start(lab, &with("{trafficClass: 184}"), &[]).await?;
        let mut session = client::dial(listener).await?;
        client::echo(&mut session).await?;
        forwarder.edit(&with("{congestionControl: nosuch}"))?;
        let text = "relay.tcp.congestionControl nosuch: the kernel says No such file or directory";
        forwarder.shows(text, SOON).await?;
        forwarder.shows("\"reason\": \"Rejected\"", SOON).await?;
        client::echo(&mut session).await?;
        client::echo(&mut client::dial(listener).await?).await?;

        // Taken, and told: the kernel allows less.
        forwarder.edit(&with("{sendBuffer: 512Mi, congestionControl: reno}"))?;
        let note = "relay.tcp.sendBuffer is 536870912 bytes, and the kernel gives";
        forwarder.shows(note, SOON).await?;
        forwarder.shows("\"refusal\": null", SOON).await?;
        client::echo(&mut session).await?;
        client::echo(&mut client::dial(listener).await?).await
    })
}

/// Options of sockets to backends.
const FAR: &str = "{maxSegmentSize: 1300, tcpKeepalive: {idleTime: 7s, interval: 3s, probes: 2}}";

/// What both ends of a connection say, as `ss` prints it.
#[test]
fn options_are_on_both_sides_of_a_session() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let targets = [target("a", server.address(), "")];
        let yaml = manifest("web", listener.port(), &targets, "");
        let near = format!("listener: {{port: {}, ", listener.port());
        let yaml = yaml
            .replace(
                &format!("listener: {{port: {}", listener.port()),
                &format!("{near}tcp: {{congestionControl: reno, maxSegmentSize: 1200}}"),
            )
            .replace("  relay:\n", &format!("  relay:\n    tcp: {FAR}\n"));
        let _forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        let mut session = client::dial(listener).await?;
        client::echo(&mut session).await?;
        let seen = async |filter: &str| {
            let ss = Program::new("ss").args(["-tionH", filter]);
            lab.output(&ss).await
        };
        let near = seen(&format!("sport = :{}", listener.port())).await?;
        ensure!(
            near.contains(" reno ") && near.contains("advmss:1188"),
            "{near}"
        );
        let far = seen(&format!("dport = :{}", server.address().port())).await?;
        ensure!(far.contains("advmss:1288"), "{far}");
        // That one waits for a session that lasts.
        eventually("keepalive", SOON, async || {
            let far = seen(&format!("dport = :{}", server.address().port())).await?;
            let rest = far.split_once("timer:(keepalive,").context(far.clone())?.1;
            let time = rest.split(',').next().unwrap_or_default();
            let (number, unit) = time.split_at(time.find(char::is_alphabetic).unwrap_or(0));
            let is_ours = unit != "min" && number.trim_end_matches('.').parse::<f64>()? <= 7.0;
            ensure!(is_ours, "{far}");
            Ok(())
        })
        .await?;
        Ok(())
    })
}

#[test]
fn the_examples_are_valid() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        for path in [
            "examples/accelerate.yaml",
            "examples/tcp-options.yaml",
            "examples/local/tcp-options.yaml",
        ] {
            let path = workspace_root().join(path);
            let check = programs::tcpforward()?.args(["check".as_ref(), path.as_os_str()]);
            let output = check.command(lab.folder()).output()?;
            let printed = [output.stdout, output.stderr].concat();
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&printed)
            );
        }
        Ok(())
    })
}
