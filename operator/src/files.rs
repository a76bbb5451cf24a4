//! Edge. Manifests on disk, as the same events that a cluster gives.
//!
//! Files are looked at four times a second: that sees every way of saving there is (written in
//! place, renamed over, a link swapped, a network file system), which change notices do not.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use tcpforward_process::causes::chain;

use crate::index::{Event, Object};
use crate::manifest::{self, Finding, Parsed};

mod find;
mod world;

use find::{FILE_BYTES, FILES, Stamp, find, text};
use world::World;

/// An edit shall take effect within a second.
const LOOK: Duration = Duration::from_millis(250);

/// A path that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not there, or no right to read it.
    #[error("can't read {path}")]
    Io {
        /// As given, or found in a folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Far larger than any manifest.
    #[error("{path} has {bytes} bytes: a manifest has at most {FILE_BYTES}")]
    TooLarge {
        /// As given, or found in a folder.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A pipe or a device: it can't be watched, and may have no end.
    #[error("{path} is neither a file nor a folder: save the manifests and name the file")]
    NotAFile {
        /// As given.
        path: PathBuf,
    },
    /// A folder of something else.
    #[error("{path} has more than {FILES} manifests")]
    TooMany {
        /// As given.
        path: PathBuf,
    },
}

/// The manifests of these files and folders, by name: in a folder every visible `.yaml`, `.yml`
/// and `.json`.
///
/// # Errors
/// A path can't be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let files = find(paths)?;
    files
        .keys()
        .map(|path| Ok((path.display().to_string(), text(path)?)))
        .collect()
}

/// Announces what the manifests hold, then every change, until nobody listens. A file with findings
/// keeps what it held when it last had none; at the start, what is good of it.
///
/// # Errors
/// At the start, a path can't be read; later that is a finding.
pub async fn run(
    paths: Vec<PathBuf>,
    events: mpsc::Sender<Event>,
    mut findings: impl FnMut(&[Finding]) + Send,
) -> Result<(), Error> {
    let mut files = Files {
        paths,
        arrivals: 0,
        seen: BTreeMap::new(),
        unreadable: None,
    };
    let (first, found) = files.look()?;
    let mut world = World::default();
    report(&found, &mut findings);
    world.load(first);
    for event in world.everything() {
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some((parsed, found)) = files.look_again() else {
            continue;
        };
        report(&found, &mut findings);
        for event in world.load(parsed) {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn report(found: &[Finding], findings: &mut impl FnMut(&[Finding])) {
    if !found.is_empty() {
        findings(found);
    }
}

#[derive(Clone)]
struct Seen {
    stamp: Stamp,
    /// Of two files that hold one object, the one that was here first keeps it.
    arrived: u64,
    /// What it held when it last had no findings, or what was good of it at the start.
    good: Arc<Parsed>,
}

struct Files {
    /// Files that ever arrived.
    arrivals: u64,
    paths: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, Seen>,
    /// The last complaint about a path, so that it is made once.
    unreadable: Option<String>,
}

impl Files {
    /// What all files hold, if anything changed; what is wrong with what changed.
    fn look_again(&mut self) -> Option<(Vec<Object>, Vec<Finding>)> {
        match find(&self.paths) {
            Ok(found) => {
                self.unreadable = None;
                let same = found.len() == self.seen.len()
                    && found.iter().all(|(path, stamp)| {
                        self.seen.get(path).is_some_and(|seen| seen.stamp == *stamp)
                    });
                if same {
                    return None;
                }
            }
            Err(error) => return self.complain(&error),
        }
        match self.look() {
            Ok(looked) => Some(looked),
            Err(error) => self.complain(&error),
        }
    }

    /// A path that can't be read any more keeps what it held, and is complained of once.
    fn complain(&mut self, error: &Error) -> Option<(Vec<Object>, Vec<Finding>)> {
        let text = chain(error);
        if self.unreadable.as_ref() != Some(&text) {
            tracing::error!(error = text, "what was read before stays in force");
            self.unreadable = Some(text);
        }
        None
    }

    fn look(&mut self) -> Result<(Vec<Object>, Vec<Finding>), Error> {
        let mut findings = Vec::new();
        let mut seen = BTreeMap::new();
        for (path, stamp) in find(&self.paths)? {
            let before = self.seen.get(&path);
            let now = match before {
                Some(before) if before.stamp == stamp => before.clone(),
                _ => {
                    let parsed = manifest::parse(&path.display().to_string(), &text(&path)?);
                    let arrived = before.map_or(self.arrivals, |before| before.arrived);
                    self.arrivals = self.arrivals.max(arrived + 1);
                    let (good, found) = judge(&path, before, parsed);
                    findings.extend(found);
                    Seen {
                        stamp,
                        arrived,
                        good,
                    }
                }
            };
            seen.insert(path, now);
        }
        self.seen = seen;
        let mut in_order: Vec<&Seen> = self.seen.values().collect();
        in_order.sort_by_key(|seen| seen.arrived);
        let good = in_order.into_iter().map(|seen| Parsed::clone(&seen.good));
        let all = manifest::gather(good.collect());
        findings.extend(all.findings);
        Ok((
            all.objects
                .into_iter()
                .map(|located| located.object)
                .collect(),
            findings,
        ))
    }
}

/// What of a file is in force, and what is wrong with it. At the start there is nothing to keep:
/// what is good of it is served, as in a cluster.
fn judge(path: &Path, before: Option<&Seen>, parsed: Parsed) -> (Arc<Parsed>, Vec<Finding>) {
    let Parsed {
        objects,
        mut findings,
    } = parsed;
    let held = before.is_some_and(|before| !before.good.objects.is_empty());
    if held && objects.is_empty() && findings.is_empty() {
        // A disk that is full, or a program that truncates before it writes.
        findings.push(Finding {
            file: path.display().to_string(),
            line: 1,
            column: 1,
            object: String::new(),
            field: String::new(),
            value: String::new(),
            message: "the file is empty now".to_owned(),
            remedy: "delete the file to remove what it held".to_owned(),
        });
    }
    match before {
        Some(before) if !findings.is_empty() => (Arc::clone(&before.good), findings),
        _ => (
            Arc::new(Parsed {
                objects,
                findings: Vec::new(),
            }),
            findings,
        ),
    }
}

#[cfg(test)]
mod tests;
