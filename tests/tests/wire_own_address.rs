//! Whose an address is, on a host that lets anybody bind anything.

use anyhow::{Result, ensure};
use tcpforward_dataplane::socket::is_of_this_host;
use tcpforward_tests::lab::{self, Network};

/// With virtual addresses on a host, every backend would otherwise be taken for the data plane itself.
#[test]
fn a_stranger_stays_one_where_anybody_may_bind_anything() -> Result<()> {
    lab::run(Network::Namespace, async |_| {
        for may in ["0", "1"] {
            std::fs::write("/proc/sys/net/ipv4/ip_nonlocal_bind", may)?;
            ensure!(
                !is_of_this_host("203.0.113.5".parse()?),
                "{may}: a stranger"
            );
            ensure!(is_of_this_host("127.0.0.1".parse()?), "{may}: loopback");
            ensure!(is_of_this_host("10.77.0.1".parse()?), "{may}: its own");
        }
        Ok(())
    })
}
