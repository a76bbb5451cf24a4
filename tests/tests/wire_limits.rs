//! What happens when the process is out of descriptors: it waits, it does not spin, it recovers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::{measure, ports};

const SOON: Duration = Duration::from_secs(10);
const DESCRIPTORS: u32 = 160;

#[test]
fn without_descriptors_it_waits_and_does_not_spin() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let server = Server::start("127.0.0.1:0", Behaviour::Echo).await?;
        let listener = ports::free()?;
        let yaml = manifest(
            "web",
            listener.port(),
            &[target("a", server.address(), "")],
            "",
        );
        let forwarder = Forwarder::start_with_descriptors(lab, DESCRIPTORS, &yaml).await?;

        let mut served = Vec::new();
        for _ in 0..30 {
            let mut stream = client::dial(listener).await?;
            client::echo(&mut stream).await?;
            served.push(stream);
        }
        let mut waiting = Vec::new();
        for _ in 0..150 {
            waiting.push(client::dial(listener).await?);
        }
        eventually("it to be short of descriptors", SOON, async || {
            let name = "tcpforward_dataplane_accept_waits_total";
            let waits = client::metric(forwarder.admin, name, &[]).await?;
            ensure!(waits > 0.0, "{waits}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        let before = measure::processor_time(forwarder.process.pid())?;
        always(
            "sessions and pages to go on",
            Duration::from_secs(2),
            async || {
                for stream in served.iter_mut().take(3) {
                    client::echo(stream).await?;
                }
                let ready = client::get(forwarder.admin, "/readyz").await?;
                ensure!(ready.status == 200, "{ready:?}");
                Ok::<_, anyhow::Error>(())
            },
        )
        .await?;
        let used = measure::processor_time(forwarder.process.pid())? - before;
        ensure!(
            used < Duration::from_secs(1),
            "{used:?} of processor in two seconds"
        );

        served.clear();
        waiting.truncate(20);
        for stream in &mut waiting {
            client::echo(stream).await.context("a client that waited")?;
        }
        Ok(())
    })
}
