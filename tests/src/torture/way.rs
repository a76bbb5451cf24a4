//! Edge. The two ways by which a relay moves bytes, each made sure of before a fault: it copies them,
//! or the kernel moves them by pipes.
//!
//! Ours has no switch: it takes pipes for what is long, where it gets any. So it copies as a user for
//! whom the kernel makes no more of a useful size (`fs.pipe-user-pages-soft`), and goes by pipes once a
//! direction has moved much. HAProxy copies unless it is told to splice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::measure;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{Flow, SOON};

/// How a relay moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it likes: the row moves too little for a difference.
    Any,
    /// Through its own memory, however much there is.
    Copied,
    /// By pipes, which hold bytes of a direction before its fault.
    Spliced,
}

/// In which ways a row is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Copied and by pipes.
    Both,
    /// Once: why there is no difference.
    Once(&'static str),
}

impl Ways {
    /// One after the other.
    #[must_use]
    pub fn all(self) -> &'static [Way] {
        match self {
            Self::Both => &[Way::Copied, Way::Spliced],
            Self::Once(_) => &[Way::Any],
        }
    }
}

/// Moved in each direction where bytes are copied: twice what ours copies of what is long.
const MUCH: usize = 256 << 10;

/// A sender that has to wait for that long is held back.
const HELD_BACK: Duration = Duration::from_millis(2);

/// What a reader takes of bytes that got stuck outside of pipes.
const SOME: usize = 256 << 10;

/// The pipes of a process, without those that it had at its start: its own ones and inherited ones.
#[derive(Debug)]
pub struct Pipes {
    pid: u32,
    before: BTreeSet<PathBuf>,
}

impl Pipes {
    /// From now on.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let before = BTreeSet::new();
        let mut pipes = Self { pid, before };
        pipes.before = pipes.open()?.into_keys().collect();
        Ok(pipes)
    }

    /// Each by its name: the path of one of its descriptors.
    fn open(&self) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let mut pipes = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid))? {
            let path = entry?.path();
            if let Ok(name) = fs::read_link(&path)
                && name.to_string_lossy().starts_with("pipe:")
                && !self.before.contains(&name)
            {
                pipes.insert(name, path);
            }
        }
        Ok(pipes)
    }

    /// Bytes in all of them.
    ///
    /// # Errors
    /// The process is gone.
    pub fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for path in self.open()?.values() {
            bytes += bytes_in(path)?;
        }
        Ok(bytes)
    }

    /// Descriptors of the process that are none of these.
    ///
    /// # Errors
    /// The process is gone.
    pub fn other_descriptors(&self) -> Result<usize> {
        let all = measure::descriptors(self.pid)?;
        Ok(all.saturating_sub(2 * self.open()?.len()))
    }

    /// How many are kept once the sessions are over: ours may keep 16 for each core.
    ///
    /// # Errors
    /// The process is gone.
    pub fn kept(&self) -> Result<Figure> {
        let n_kept = count(self.open()?.len());
        let most = count(16 * thread::available_parallelism()?.get());
        let figure = Figure::new("pipes kept", n_kept, "pipes");
        Ok(figure.at_most(most).noise(most))
    }

    /// Moves bytes in both directions of a session until both go that way.
    ///
    /// # Errors
    /// They go another one, or don't arrive.
    pub async fn settle(&self, way: Way, flow: &mut Flow) -> Result<()> {
        let Flow { down, up } = flow;
        self.settle_one(way, down, up).await?;
        self.settle_one(way, up, down).await
    }

    async fn settle_one(&self, way: Way, from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
        let n_under_way = match way {
            Way::Any => return Ok(()),
            Way::Copied => 0,
            Way::Spliced => self.hold_up(from, to).await?,
        };
        let n_more = match way {
            Way::Copied => MUCH,
            Way::Any | Way::Spliced => 0,
        };
        let more = vec![b'm'; n_more];
        let mut came = vec![0; n_under_way + n_more];
        let both = async { tokio::try_join!(from.write_all(&more), to.read_exact(&mut came)) };
        timeout(SOON, both)
            .await
            .context("bytes got stuck before a fault")??;
        let n_pipes = self.open()?.len();
        ensure!(
            way == Way::Spliced || n_pipes == 0,
            "{n_pipes} pipes where it should copy"
        );
        Ok(())
    }

    /// Sends bytes until some of them wait in a pipe, because nobody reads: how many are under way then.
    ///
    /// # Errors
    /// There are never any.
    pub async fn hold_up(&self, from: &mut TcpStream, to: &mut TcpStream) -> Result<usize> {
        let chunk = vec![b's'; SOME];
        let mut came = vec![0; SOME];
        let start = Instant::now();
        let (mut sent, mut received) = (0, 0);
        while self.bytes()? == 0 {
            let late = start.elapsed() > SOON;
            ensure!(!late, "{sent} bytes were sent and none is in a pipe");
            match timeout(HELD_BACK, from.write(&chunk)).await {
                Ok(n) => sent += n?,
                // What it holds was read just before it took a pipe.
                Err(_) => {
                    let some = timeout(SOON, to.read(&mut came)).await;
                    received += some.context("bytes got stuck outside of pipes")??;
                }
            }
        }
        Ok(sent - received)
    }
}

fn bytes_in(pipe: &Path) -> Result<u64> {
    let opened = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(pipe);
    match opened {
        Ok(opened) => Ok(rustix::io::ioctl_fionread(opened)?),
        // Closed just now, and its number is perhaps a socket's already.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || Errno::from_io_error(&error) == Some(Errno::NXIO) =>
        {
            Ok(0)
        }
        Err(error) => Err(error).with_context(|| pipe.display().to_string()),
    }
}

/// A user without rights for whom the kernel makes no useful pipe any more, as long as this lives.
#[derive(Debug)]
pub struct NoPipes {
    /// Who.
    pub user: u32,
    _taken: Vec<(OwnedFd, OwnedFd)>,
}

/// The largest pipe that the kernel makes for a user without rights.
const LARGEST: usize = 1 << 20;

/// A pipe as it comes. Smaller ones mean that a user has too many.
const USUAL: usize = 64 << 10;

impl NoPipes {
    /// Takes all the pipes that a user may have whom nobody else is.
    ///
    /// # Errors
    /// Not root, or there is no such bound.
    pub fn make() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let user = 100_000 + std::process::id() % 100_000 * 1000 + nth % 1000;
        // On Linux a user is a thread's own, and this thread is for nothing else.
        let taken = thread::scope(|scope| scope.spawn(|| take_all(user)).join());
        let taken = taken.map_err(|_| anyhow!("the thread broke"))??;
        Ok(Self {
            user,
            _taken: taken,
        })
    }
}

fn take_all(user: u32) -> Result<Vec<(OwnedFd, OwnedFd)>> {
    let id = Uid::from_raw(user);
    set_thread_res_uid(id, id, id).context("becoming another user")?;
    let mut taken = Vec::new();
    // The bound is 64 MiB where nobody changed it.
    while taken.len() < 4096 {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        if fcntl_getpipe_size(&write)? < USUAL {
            return Ok(taken);
        }
        // Near the end there is no room for one as large.
        let _ = fcntl_setpipe_size(&write, LARGEST);
        taken.push((read, write));
    }
    Err(anyhow!(
        "a user may have any number of pipes: set fs.pipe-user-pages-soft"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn bytes_in_a_pipe_are_seen() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let path = format!("/proc/self/fd/{}", read.as_raw_fd());
        assert_eq!(bytes_in(Path::new(&path)).unwrap(), 0);
        File::from(write).write_all(&[1; 1000]).unwrap();
        assert_eq!(bytes_in(Path::new(&path)).unwrap(), 1000);
    }

    #[test]
    fn pipes_made_before_are_none() {
        let before = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let pipes = Pipes::of(std::process::id()).unwrap();
        let name = |pipe: &OwnedFd| {
            let link = format!("/proc/self/fd/{}", pipe.as_raw_fd());
            fs::read_link(link).unwrap()
        };
        assert!(!pipes.open().unwrap().contains_key(&name(&before.0)));
        let after = pipe_with(PipeFlags::CLOEXEC).unwrap();
        assert!(pipes.open().unwrap().contains_key(&name(&after.0)));
    }
}
