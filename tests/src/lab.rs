//! Edge. The place where one test runs: a thread, a folder, and the network that it asks for.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::netns;
use crate::process::{Process, Program};

/// Lines of each program's log that a failing test shows.
const LOG_LINES: usize = 60;

/// How names of labs' folders begin.
pub const FOLDER_PREFIX: &str = "tcpforward-lab-";

/// What a test's sockets reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The machine's loopback device: ports must be picked by the system.
    Loopback,
    /// A namespace of the test's own: any port, and backends on 10.77.0.0/24. Needs root.
    Namespace,
}

/// A test's place.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    /// Held as long as the folder is in use; the system lets go when the test is killed.
    _lock: File,
}

/// Runs a test on a thread and a runtime of its own. Everything it starts is gone afterwards; if it
/// fails, the ends of its programs' logs are printed.
///
/// # Errors
/// What the test returns, or the place can't be made.
pub fn run(network: Network, test: impl AsyncFnOnce(&Lab) -> Result<()> + Send) -> Result<()> {
    let lab = Lab::new()?;
    let ended = thread::scope(|scope| scope.spawn(|| lab.enter(network, test)).join());
    if !matches!(ended, Ok(Ok(()))) {
        eprintln!("{}", lab.logs());
    }
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

impl Lab {
    fn new() -> Result<Self> {
        remove_abandoned();
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir()?;
        // Locked before it has the name that `remove_abandoned` looks for.
        let unnamed = folder.path().join("lock.new");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, folder.path().join("lock"))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    fn enter(&self, network: Network, test: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        if network == Network::Namespace {
            netns::enter_new()?;
        }
        // One thread, so that everything in it, new processes too, is in the namespace.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(test(self))
    }

    /// The folder for files of the test; gone with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder and returns its path.
    ///
    /// # Errors
    /// It can't be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Makes a program one that users without rights can run, and returns where it is then: folders
    /// above it may be closed to them.
    ///
    /// # Errors
    /// It can't be brought there.
    pub fn lend(&self, program: &Path) -> Result<PathBuf> {
        let name = program.file_name().context("a program has a name")?;
        let lent = self.folder().join(name);
        fs::set_permissions(self.folder(), PermissionsExt::from_mode(0o755))?;
        if !lent.exists() && fs::hard_link(program, &lent).is_err() {
            fs::copy(program, &lent).with_context(|| program.display().to_string())?;
        }
        Ok(lent)
    }

    /// Starts a program; its output goes to `NAME.log` in the folder.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&self, name: &str, program: &Program) -> Result<Process> {
        Process::start(self.folder(), name, program.clone())
    }

    /// Runs a program to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It fails; the message holds what it wrote to standard error.
    pub async fn output(&self, program: &Program) -> Result<String> {
        let output = tokio::process::Command::from(program.command(self.folder()))
            .kill_on_drop(true)
            .output()
            .await?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let wrote = text(&output.stderr) + &text(&output.stdout);
        Err(anyhow!("{}: {}", output.status, wrote.trim_end()))
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = fs::read(&path).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<_> = log.lines().collect();
                let (_, end) = lines.split_at(lines.len().saturating_sub(LOG_LINES));
                text += &format!("--- end of {}\n{}\n", path.display(), end.join("\n"));
            }
        }
        text
    }
}

/// Lets this process, and what it starts, have as many open files as the system permits.
///
/// # Errors
/// The system refuses.
pub fn raise_descriptors() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Removes folders of tests that were killed: those whose lock nobody holds.
fn remove_abandoned() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for folder in entries.flatten() {
        let name = folder.file_name();
        let lock = File::open(folder.path().join("lock"));
        if let (true, Ok(lock)) = (name.to_string_lossy().starts_with(FOLDER_PREFIX), lock)
            && lock.try_lock().is_ok()
        {
            // Another test may be faster; either way it is gone.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}
