//! What Go asks of every network connection holds for one that goes through a forward.

use anyhow::{Result, ensure};
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::{ports, programs};

#[test]
fn gos_tests_of_a_connection_pass_through_a_forward() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let (forward, backend) = (ports::free()?, ports::free()?);
        let targets = [target("backend", backend, "")];
        let manifest = manifest("nettest", forward.port(), &targets, "");
        let _forwarder = Forwarder::start(lab, &manifest, &[]).await?;
        let tests = programs::nettest(lab)?
            .args(["-test.v", "-test.timeout=2m"])
            .env("NETTEST_BACKEND", backend.to_string())
            .env("NETTEST_FORWARD", forward.to_string());
        let report = lab.output(&tests).await?;
        ensure!(report.contains("--- PASS: TestConn ("), "{report}");
        // One that a later version leaves out must be noticed.
        ensure!(report.matches("    --- PASS: ").count() >= 9, "{report}");
        Ok(())
    })
}
