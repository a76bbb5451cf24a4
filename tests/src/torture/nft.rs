//! Edge. Packets that get lost, in the namespace of the calling thread.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A host that nobody reaches any more and that reaches nobody, as if its cable were out.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn unplug(host: IpAddr) -> Result<()> {
    for side in ["saddr", "daddr"] {
        add(&format!("ip {side} {host} drop"))?;
    }
    Ok(())
}

/// A port of a host that doesn't answer: what is sent to it is lost.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn black_hole(host: IpAddr, port: u16) -> Result<()> {
    add(&format!("ip daddr {host} tcp dport {port} drop"))
}

/// Connections from those ports of this machine: nothing of them arrives any more, on either side, and
/// nobody is told. Others are as they were.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn lose(ports: &[u16]) -> Result<()> {
    for port in ports {
        add(&format!("tcp sport {port} drop"))?;
        add(&format!("tcp dport {port} drop"))?;
    }
    Ok(())
}

/// Everything arrives again.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn restore() -> Result<()> {
    nft("flush chain ip torture lost")
}

fn add(rule: &str) -> Result<()> {
    nft("add table ip torture")?;
    // On the way in: who sends a packet that is dropped on the way out is told, and keeps it.
    nft("add chain ip torture lost { type filter hook input priority 0 ; }")?;
    nft(&format!("add rule ip torture lost {rule}"))
}

fn nft(command: &str) -> Result<()> {
    let output = Command::new("nft")
        .arg(command)
        .output()
        .context("can't run `nft`: install it with `apt-get install nftables`")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft {command}: {error}");
    Ok(())
}
