//! Edge. Where a run happens, and which versions of what.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::peer::Peer;
use crate::results::Machine;
use crate::subject::Programs;
use crate::user;

/// The machine that this runs on.
///
/// # Errors
/// It doesn't tell.
pub fn describe() -> Result<Machine> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models = processors
        .lines()
        .filter(|line| line.starts_with("model name"));
    let model = models.clone().next().and_then(|line| line.split_once(": "));
    Ok(Machine {
        date: output(Command::new("date").args(["--utc", "+%F"]))?,
        processor: model.map_or("unknown", |(_, model)| model).to_owned(),
        cores: models.count(),
        kernel: line("/proc/sys/kernel/osrelease")?,
        mitigations: mitigations(),
        clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource")?,
        congestion_control: line("/proc/sys/net/ipv4/tcp_congestion_control")?,
        user: user::name(),
    })
}

/// What each of those programs says that it is.
///
/// # Errors
/// One of them can't be run.
pub fn versions(peers: &[Peer], programs: &Programs) -> Result<BTreeMap<Peer, String>> {
    let mut versions = BTreeMap::new();
    for &peer in peers {
        if let Some(mut command) = programs.version(peer) {
            let what = || {
                format!(
                    "can't run {}: `tests/setup.sh bench` installs it",
                    peer.name()
                )
            };
            versions.insert(peer, output(&mut command).with_context(what)?);
        }
    }
    Ok(versions)
}

/// What our program says that it is.
///
/// # Errors
/// It can't be run.
pub fn version(ours: &Path) -> Result<String> {
    output(Command::new(ours).arg("--version"))
}

/// The first line that a command prints, on either of its outputs.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", output.status);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    Ok(line.unwrap_or_default().trim().to_owned())
}

fn line(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    Ok(text.trim().to_owned())
}

/// Of those faults that this processor has.
fn mitigations() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let folder = Path::new("/sys/devices/system/cpu/vulnerabilities");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let what = fs::read_to_string(entry.path()).unwrap_or_default();
        if !what.trim().is_empty() && what.trim() != "Not affected" {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.insert(name, what.trim().to_owned());
        }
    }
    found
}
