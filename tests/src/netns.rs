//! Edge. A network namespace for one thread: it has no name, so it is gone with the last process
//! and socket in it, however the test ends.
//!
//! Threads and processes that the thread starts are in the namespace too. To look into it while a
//! test runs: `nsenter --net=/proc/PID/ns/net` with the pid of any program of the test.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// Addresses on the namespace's loopback device for backends: the Kubernetes API refuses 127.0.0.0/8
/// in EndpointSlices.
pub const BACKENDS: &str = "10.77.0.0/24";

/// Moves the calling thread into a new namespace with a loopback device that answers for 127.0.0.1,
/// ::1 and [`BACKENDS`].
///
/// # Errors
/// Not root (CAP_SYS_ADMIN and CAP_NET_ADMIN), or `ip` is missing.
pub fn enter_new() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("can't make a network namespace: tests with traffic in a cluster need root")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["route", "add", "local", BACKENDS, "dev", "lo"])?;
    ip(&["address", "add", "10.77.0.1/32", "dev", "lo"])
}

/// Runs `ip` in the namespace of the calling thread.
///
/// # Errors
/// It is missing, or fails.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("can't run `ip`: install it with `apt-get install iproute2`")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Bounds the buffers of sockets in the calling thread's namespace, so that a stall is reached soon.
///
/// # Errors
/// The kernel refuses.
pub fn bound_buffers() -> Result<()> {
    set("ipv4/tcp_rmem", "4096 65536 262144")?;
    set("ipv4/tcp_wmem", "4096 65536 262144")
}

/// Sets a parameter of the calling thread's namespace, such as `ipv4/ip_local_port_range`.
///
/// # Errors
/// There is no such parameter, or not such a value.
pub fn set(parameter: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{parameter}");
    std::fs::write(&path, value).with_context(|| format!("{path} = {value}"))
}
