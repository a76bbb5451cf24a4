//! Edge. The control groups of a lab's nodes. The kernel keeps empty ones for ever, so a process that
//! outlives the test for a moment removes them, however the test ends.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;

/// Waits until the other end of its input is gone, which is the test's, and removes what has the name.
const SWEEP: &str = r#"
read -r _
for _ in $(seq 100); do
  find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} + 2>/dev/null
  [ -n "$(find /sys/fs/cgroup -type d -path "*/$1*" -print -quit)" ] || exit 0
  sleep 0.1
done
exit 1
"#;

#[derive(Debug)]
pub(super) struct Cgroups {
    name: String,
    sweeper: Child,
}

impl Cgroups {
    /// Those of the lab: their names begin with that of its folder.
    pub(super) fn new(lab: &Lab) -> Result<Self> {
        let name = lab.folder().file_name().context("a folder has a name")?;
        let name = name.to_string_lossy().into_owned();
        // In a session of its own: a terminal's interrupt is for the test.
        let sweeper = Command::new("setsid")
            .args(["sh", "-c", SWEEP, "sweep", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't run `setsid`: install it with `apt-get install util-linux`")?;
        Ok(Self { name, sweeper })
    }

    /// Makes the one for a node, without what is left of the last time that it ran, and returns its
    /// path in each hierarchy.
    pub(super) fn make(&self, node: &str) -> Result<String> {
        let path = format!("/{}-{node}", self.name);
        for root in hierarchies()? {
            let folder = format!("{root}{path}");
            fs::create_dir_all(&folder).with_context(|| format!("making {folder}"))?;
            // kubelet would look for 3 s at each container that is no more.
            let find = Command::new("find")
                .args([&folder, "-mindepth", "1", "-depth", "-type", "d"])
                .args(["-exec", "rmdir", "{}", "+"])
                .output()?;
            let error = String::from_utf8_lossy(&find.stderr);
            ensure!(find.status.success(), "emptying {folder}: {error}");
        }
        Ok(path)
    }

    /// Kills the processes of a container, by the last part of its groups' paths.
    pub(super) fn kill(&self, container: &str) -> Result<()> {
        let mut killed = 0;
        for root in hierarchies()? {
            let find = Command::new("find")
                .args([root.as_str(), "-type", "d"])
                .args(["-path", &format!("*/{}-*/{container}", self.name)])
                .output()?;
            for folder in String::from_utf8(find.stdout)?.lines() {
                // Once it is dead, its groups in the other hierarchies go.
                let pids = fs::read_to_string(format!("{folder}/cgroup.procs"));
                for pid in pids.unwrap_or_default().lines() {
                    let pid = Pid::from_raw(pid.parse()?).context("a pid")?;
                    killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
                }
            }
        }
        ensure!(killed > 0, "no process of container {container}");
        Ok(())
    }
}

/// Where they are mounted.
fn hierarchies() -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let fields = mounts.lines().map(|mount| mount.split(' ').collect());
    let root = |fields: Vec<&str>| match fields.as_slice() {
        [_, root, "cgroup" | "cgroup2", ..] => Some((*root).to_owned()),
        _ => None,
    };
    Ok(fields.filter_map(root).collect())
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        let swept = self.sweeper.wait();
        if !swept.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("control groups {} are left: {swept:?}", self.name);
        }
    }
}
