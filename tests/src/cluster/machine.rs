//! Edge. A machine made of namespaces: a network, processes, mounts and a name of its own.
//!
//! Whatever runs on it is gone with its first process, which is gone with the thread of the test; so are
//! its mounts and interfaces. None of it has a name outside, so machines of tests at the same time never
//! meet.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::netns;
use crate::process::{Process, Program};

/// The address of the lab on the bridge that all machines are plugged into.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

const BRIDGE: &str = "machines";

const DEADLINE: Duration = Duration::from_secs(30);

/// The first process: name, folder for /var, the program that buries orphans. The parameters of the
/// kernel that kubelet sets are no namespace's own, so it gets files to write them to.
const BOOT: &str = r#"
hostname "$1"
mount --bind "$2" /var
mount -t tmpfs -o mode=755 tmpfs /run
for name in kernel/panic kernel/panic_on_oops kernel/keys/root_maxbytes kernel/keys/root_maxkeys \
  vm/overcommit_memory vm/panic_on_oom; do
  file=/run/${name##*/}
  cat /proc/sys/$name > $file
  mount --bind $file /proc/sys/$name
done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo "$4"
exec "$3" wait
"#;

#[derive(Debug)]
pub(super) struct Machine {
    /// The parent of the first process, in the lab's namespaces.
    process: Process,
    first: Pid,
    /// Of its end of the cable on the bridge.
    name: String,
}

/// Makes the lab's network the one that machines are plugged into.
pub(super) fn lay_bridge() -> Result<()> {
    netns::ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    netns::ip(&["link", "set", BRIDGE, "up"])?;
    netns::ip(&["address", "add", &format!("{GATEWAY}/24"), "dev", BRIDGE])?;
    netns::set("ipv4/ip_forward", "1")?;
    // Machines reach each other's pods by the lab, although there is a shorter way.
    netns::set("ipv4/conf/all/send_redirects", "0")?;
    netns::set(&format!("ipv4/conf/{BRIDGE}/send_redirects"), "0")
}

impl Machine {
    /// Boots one; `pod` is the program of `tests/pod`.
    pub(super) async fn boot(lab: &Lab, name: &str, pod: &Program) -> Result<Self> {
        let var = disk(lab, name)?;
        // Another line each time: the log has that of the last time.
        let booted = format!("booted {:x}", fastrand::u64(..));
        let program = Program::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--net", "--mount", "--uts", "--ipc", "--"])
            .args(["sh", "-euc", BOOT, "boot", name])
            .args([var.as_path(), pod.path()])
            .arg(&booted);
        let mut process = lab.start(name, &program)?;
        process.says(&booted, DEADLINE).await?;
        let first = only_child(process.pid())?;
        let name = name.to_owned();
        Ok(Self {
            process,
            first,
            name,
        })
    }

    /// Plugs it into the bridge; `pods` are on it.
    pub(super) async fn plug(&self, lab: &Lab, address: Ipv4Addr, pods: &str) -> Result<()> {
        let name = self.name.as_str();
        let first = self.first.as_raw_nonzero().to_string();
        let peer = ["peer", "name", "eth0", "netns", &first];
        netns::ip(&[&["link", "add", name, "type", "veth"][..], &peer].concat())?;
        netns::ip(&["link", "set", name, "master", BRIDGE, "up"])?;
        netns::ip(&["route", "replace", pods, "via", &address.to_string()])?;
        let commands = [
            format!("address add {address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {GATEWAY}"),
        ];
        for command in commands {
            let ip = Program::new("ip").args(command.split(' '));
            lab.output(&self.program(ip)).await.context(command)?;
        }
        Ok(())
    }

    /// The program, to be run on this machine.
    pub(super) fn program(&self, program: Program) -> Program {
        program.within(self.first.as_raw_nonzero().get().unsigned_abs())
    }

    /// Takes it off the power.
    pub(super) fn kill(&mut self) -> Result<()> {
        if self.process.ended()?.is_none() {
            // The cable first: nobody hears of its processes' ends, such as by a reset. It is gone
            // already if it never was plugged in.
            let _ = netns::ip(&["link", "delete", &self.name]);
            // With the first process the kernel ends all others, and only then the first one's
            // parent hears of it.
            kill_process(self.first, Signal::KILL)?;
        }
        self.process.wait()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The process, which is dropped next, ends the rest if this fails.
        let _ = self.kill();
    }
}

/// What the machine has in /var: a folder of the lab's.
fn disk(lab: &Lab, name: &str) -> Result<PathBuf> {
    let var = lab.folder().join(name).join("var");
    let hidden = ["/var/", "/run/"].iter().find(|path| var.starts_with(path));
    ensure!(
        hidden.is_none(),
        "TMPDIR is in {hidden:?}, which machines of tests have of their own: set it to /tmp"
    );
    for folder in ["lib", "log", "tmp"] {
        fs::create_dir_all(var.join(folder))?;
    }
    match symlink("/run", var.join("run")) {
        // From the last time that it was booted.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    Ok(var)
}

fn only_child(parent: u32) -> Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let pid = children
        .trim()
        .parse()
        .with_context(|| format!("one child of {parent}: {children:?}"))?;
    Pid::from_raw(pid).context("a pid")
}
