//! Edge. Programs as processes: their output in a file, their end in the test's hands.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;

/// What to start: a program, its arguments and environment.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    is_contained: bool,
}

impl Program {
    /// The program in that file, without arguments.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            is_contained: false,
        }
    }

    /// The file that is run.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, which otherwise holds little more than `PATH`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it in that folder instead of the lab's.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// For scripts: whatever it starts ends with it, by a PID namespace of its own. Needs root.
    #[must_use]
    pub fn contained(mut self) -> Self {
        self.is_contained = true;
        self
    }

    /// The same program inside of the machine whose first process has this pid. It ends with the
    /// machine: to end it earlier, its own pid is needed, which is another than its [`Process`]'.
    #[must_use]
    pub fn within(self, pid: u32) -> Self {
        let kinds = ["--net", "--pid", "--mount", "--uts", "--ipc", "--"];
        let mut arguments: Vec<OsString> = vec!["--target".into(), pid.to_string().into()];
        arguments.extend(kinds.map(OsString::from));
        self.under("nsenter", arguments)
    }

    /// The same program with room for so many open files, which it can't raise.
    #[must_use]
    pub fn with_descriptors(self, limit: u32) -> Self {
        let limit = format!("--nofile={limit}:{limit}").into();
        self.under("prlimit", vec![limit, "--".into()])
    }

    /// The same program as that user and group, without any right of root's. Needs root.
    #[must_use]
    pub fn as_user(self, id: u32) -> Self {
        // Who changes its user has to be told again whose end is its own.
        let arguments = [
            format!("--reuid={id}"),
            format!("--regid={id}"),
            "--clear-groups".to_owned(),
            "--pdeathsig=KILL".to_owned(),
            "--".to_owned(),
        ];
        self.under("setpriv", arguments.map(Into::into).to_vec())
    }

    /// The same program on one core.
    #[must_use]
    pub fn on_core(self, core: usize) -> Self {
        let arguments = ["--cpu-list".to_owned(), core.to_string()];
        self.under("taskset", arguments.map(Into::into).to_vec())
    }

    /// The same program started by another one.
    fn under(mut self, starter: &str, mut arguments: Vec<OsString>) -> Self {
        arguments.push(self.path.into());
        arguments.append(&mut self.arguments);
        Self {
            path: starter.into(),
            arguments,
            ..self
        }
    }

    /// The command that runs it in `folder` and kills it when the calling thread ends: with a test
    /// that is killed, nothing is left running.
    #[must_use]
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if self.is_contained {
            command.args(["unshare", "--pid", "--fork", "--kill-child", "--"]);
        }
        command
            .arg(&self.path)
            .args(&self.arguments)
            .current_dir(self.folder.as_deref().unwrap_or(folder))
            .env_clear()
            .envs(["PATH", "HOME", "TMPDIR"].iter().filter_map(inherited))
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }
}

fn inherited(name: &&'static str) -> Option<(&'static str, OsString)> {
    Some((name, std::env::var_os(name)?))
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: Program,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program` in `folder`; its output goes to `NAME.log` there.
    pub(crate) fn start(folder: &Path, name: &str, program: Program) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let child = spawn(&program, &log)?;
        Ok(Self {
            name: name.to_owned(),
            program,
            log,
            child,
        })
    }

    /// What its log is named after.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far, over all its starts.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Waits until its log has a line that holds `text`, and returns that line.
    ///
    /// # Errors
    /// The deadline passes, or it ends.
    pub async fn says(&mut self, text: &str, deadline: Duration) -> Result<String> {
        let what = format!("{} to say {text:?}", self.name);
        let found = eventually(&what, deadline, async || {
            let log = self.log()?;
            match log.lines().find(|line| line.contains(text)) {
                Some(line) => Ok(Ok(line.to_owned())),
                None => match self.child.try_wait()? {
                    Some(status) => Ok(Err(anyhow!("{what}, but it ended: {status}\n{log}"))),
                    None => Err(anyhow!("{}", log.lines().last().unwrap_or("nothing"))),
                },
            }
        });
        found.await?
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The deadline passes.
    pub async fn end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        eventually(&what, deadline, async || {
            self.ended()?.context("it still runs")
        })
        .await
    }

    /// Sends a signal: `TERM` to ask for its end, `STOP` and `CONT` to hold it and let it go on.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} has ended: {status}", self.name);
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", self.name))
    }

    /// Kills it as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it is gone, for which somebody else has seen to it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn wait(&mut self) -> Result<()> {
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again with the same arguments, after its end.
    ///
    /// # Errors
    /// It still runs, or can't be started.
    pub fn restart(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            bail!("{} still runs", self.name);
        }
        self.child = spawn(&self.program, &self.log)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do about a failure: it has ended, or ends with this thread.
        let _ = self.kill();
    }
}

fn spawn(program: &Program, log: &Path) -> Result<Child> {
    let output: File = OpenOptions::new().create(true).append(true).open(log)?;
    let folder = log.parent().context("a log lies in a folder")?;
    program
        .command(folder)
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("can't start {}", program.path.display()))
}
