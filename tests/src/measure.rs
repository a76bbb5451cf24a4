//! Edge. What the system says of a process, and of the network namespace of the calling thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Processor time that a process has used, threads that have ended included, to the nanosecond.
///
/// # Errors
/// It is gone.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(clock.now()?.into())
}

/// The share of one processor that was used in that time, in percent.
#[must_use]
pub fn percent(used: Duration, window: Duration) -> f64 {
    used.div_duration_f64(window) * 100.0
}

/// Memory of a process that is resident, in KiB.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next());
    size.context("VmRSS")?.parse().context("a number")
}

/// Memory of a process in KiB; what it shares with others counts by its share.
///
/// # Errors
/// It is gone.
pub fn proportional(pid: u32) -> Result<u32> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let size = line.and_then(|line| line.split_whitespace().next());
    size.context("Pss")?.parse().context("a number")
}

/// Each thread of a process: its name, and how often it has waited for something. (How often others
/// took its core from it says more of the machine.)
///
/// # Errors
/// It is gone.
pub fn switches(pid: u32) -> Result<BTreeMap<u32, (String, u64)>> {
    let mut threads = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path();
        let id = path.file_name().and_then(|name| name.to_str());
        let id = id.context("a thread's number")?.parse()?;
        let status = fs::read_to_string(path.join("status"))?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let count: u64 = count.context("voluntary_ctxt_switches")?.trim().parse()?;
        let name = fs::read_to_string(path.join("comm"))?;
        threads.insert(id, (name.trim().to_owned(), count));
    }
    Ok(threads)
}

/// Descriptors that a process has open.
///
/// # Errors
/// It is gone.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// A counter of `TcpExt` in this namespace, such as `ListenOverflows`.
///
/// # Errors
/// The kernel doesn't know it.
pub fn tcp_counter(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).context("TcpExt")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let pair = pairs.find(|(its, _)| *its == name);
    pair.context("no such counter")?
        .1
        .parse()
        .context("a number")
}

/// Memory that the kernel holds for the sockets of all namespaces, in KiB.
///
/// # Errors
/// The kernel doesn't tell.
pub fn socket_memory() -> Result<u32> {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat")?;
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let (_, pages) = line
        .and_then(|line| line.rsplit_once(' '))
        .context("TCP: mem")?;
    let pages: u32 = pages.parse()?;
    Ok(pages.saturating_mul(4))
}

/// One IPv4 socket of this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its own end.
    pub local: SocketAddrV4,
    /// The other end.
    pub remote: SocketAddrV4,
    /// What it does.
    pub state: State,
    /// Bytes that the other end has not acknowledged.
    pub unacknowledged: u32,
}

/// What a TCP socket does, as far as tests care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Data may flow both ways.
    Established,
    /// Waits for connections.
    Listen,
    /// Any other.
    Other,
    /// Closed first and keeps its port for a while.
    TimeWait,
}

/// Own ports of a process' established IPv4 connections to that address, in this namespace.
///
/// # Errors
/// It is gone, or the table can't be read.
pub fn connections(pid: u32, to: SocketAddrV4) -> Result<Vec<u16>> {
    let mut inodes = BTreeSet::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed meanwhile is none.
        if let Ok(target) = fs::read_link(descriptor?.path()) {
            let target = target.display().to_string();
            let inode = target.strip_prefix("socket:[");
            inodes.extend(inode.map(|rest| rest.trim_end_matches(']').to_owned()));
        }
    }
    let text = fs::read_to_string("/proc/thread-self/net/tcp")?;
    let mut ports = Vec::new();
    for line in text.lines().skip(1) {
        let socket = socket(line)?;
        let inode = line.split_whitespace().nth(9).context("an inode")?;
        let is_one = socket.state == State::Established && socket.remote == to;
        if is_one && inodes.contains(inode) {
            ports.push(socket.local.port());
        }
    }
    Ok(ports)
}

/// Every IPv4 TCP socket of this namespace.
///
/// # Errors
/// The table can't be read.
pub fn tcp_sockets() -> Result<Vec<TcpSocket>> {
    let text = fs::read_to_string("/proc/thread-self/net/tcp")?;
    text.lines().skip(1).map(socket).collect()
}

fn socket(line: &str) -> Result<TcpSocket> {
    let mut fields = line.split_whitespace().skip(1);
    let mut next = || fields.next().context("a field of /proc/net/tcp");
    let (local, remote, state, queues) = (next()?, next()?, next()?, next()?);
    let state = match state {
        "01" => State::Established,
        "06" => State::TimeWait,
        "0A" => State::Listen,
        _ => State::Other,
    };
    let (to_send, _) = queues.split_once(':').context("queues")?;
    Ok(TcpSocket {
        local: address(local)?,
        remote: address(remote)?,
        state,
        unacknowledged: u32::from_str_radix(to_send, 16)?,
    })
}

fn address(text: &str) -> Result<SocketAddrV4> {
    let (ip, port) = text.split_once(':').context("an address")?;
    let ip = u32::from_str_radix(ip, 16)?;
    let port = u16::from_str_radix(port, 16)?;
    // The kernel prints the four bytes as one number of the machine.
    Ok(SocketAddrV4::new(Ipv4Addr::from(ip.to_ne_bytes()), port))
}

/// A bound on the memory of one process, in a control group of its own. Dropping it takes the group
/// away once the process is gone.
#[derive(Debug)]
pub struct MemoryLimit {
    group: PathBuf,
    /// The file that says how often a process was killed.
    events: &'static str,
}

/// Where control groups for memory are, by version: the folder, its limit, and its events.
const GROUPS: [(&str, &str, &str); 2] = [
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.oom_control",
    ),
    ("/sys/fs/cgroup", "memory.max", "memory.events"),
];

impl MemoryLimit {
    /// Bounds what that process takes from now on.
    ///
    /// # Errors
    /// Control groups can't be made: not root, or not mounted.
    pub fn set(pid: u32, bytes: u64) -> Result<Self> {
        let version = GROUPS
            .iter()
            .find(|(folder, ..)| Path::new(folder).is_dir());
        let (folder, limit, events) = *version.context("no control groups are mounted")?;
        let group = Path::new(folder).join(format!("tcpforward-torture-{pid}"));
        fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
        let limited = Self { group, events };
        fs::write(limited.group.join(limit), bytes.to_string()).context("limiting memory")?;
        fs::write(limited.group.join("cgroup.procs"), pid.to_string())?;
        Ok(limited)
    }

    /// How often a process of the group was killed.
    ///
    /// # Errors
    /// The kernel doesn't tell.
    pub fn kills(&self) -> Result<usize> {
        let text = fs::read_to_string(self.group.join(self.events))?;
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.context("oom_kill")?.parse().context("a number")
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A group with a process in it stays; the next run of this pid uses it again.
        let _ = fs::remove_dir(&self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   0: 0B4D000A:1B58 0100007F:C350 01 00000010:00000000 00:00000000 0 0 0 1";
        let socket = socket(line).unwrap();
        let expected = TcpSocket {
            local: "10.0.77.11:7000".parse().unwrap(),
            remote: "127.0.0.1:50000".parse().unwrap(),
            state: State::Established,
            unacknowledged: 16,
        };
        assert_eq!(socket, expected);
    }

    #[test]
    fn this_process_can_be_measured() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 0);
        assert!(proportional(pid).unwrap() > 0);
        assert!(switches(pid).unwrap().contains_key(&pid));
        assert!(descriptors(pid).unwrap() > 0);
        assert!(processor_time(pid).unwrap() > Duration::ZERO);
        tcp_counter("ListenOverflows").unwrap();
        socket_memory().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let sockets = tcp_sockets().unwrap();
        let found = sockets
            .iter()
            .find(|socket| std::net::SocketAddr::V4(socket.local) == here);
        assert_eq!(found.unwrap().state, State::Listen);
    }
}
