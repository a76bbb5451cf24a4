//! Edge. The control groups of a lab's nodes. The kernel keeps empty ones for ever, so a process that
//! outlives the test for a moment removes them, however the test ends.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

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

    /// Makes the one for a node and returns its path in each hierarchy.
    pub(super) fn make(&self, node: &str) -> Result<String> {
        let path = format!("/{}-{node}", self.name);
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        for mount in mounts.lines() {
            let fields: Vec<_> = mount.split(' ').collect();
            if let [_, root, "cgroup" | "cgroup2", ..] = fields.as_slice() {
                let folder = format!("{root}{path}");
                fs::create_dir_all(&folder).with_context(|| format!("making {folder}"))?;
            }
        }
        Ok(path)
    }
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
