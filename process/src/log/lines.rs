//! Edge. Lines go to standard error; those that a busy thread has many of go together.
//!
//! A line by itself is a system call, and wakes whoever reads the log. So a thread that calls [`hold`]
//! keeps lines of [`ACCESS`], until it has nothing else to do and says [`flush`].

use std::cell::OnceCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The target of lines that say what became of one session among many, which may be held.
pub const ACCESS: &str = "access";

/// Bytes that go together at most: as much as a pipe takes whole or not at all (`PIPE_BUF`), so that lines are
/// not torn.
const MOST: usize = 4 << 10;

thread_local! {
    static MINE: OnceCell<Arc<Held>> = const { OnceCell::new() };
}

/// What threads hold that live.
static ALL: Mutex<Vec<Weak<Held>>> = Mutex::new(Vec::new());

/// What one thread holds.
#[derive(Debug, Default)]
struct Held(Mutex<Vec<u8>>);

/// Has this thread hold lines until it says `flush`, has many, writes another one, or ends.
pub fn hold() {
    MINE.with(|mine| {
        mine.get_or_init(|| {
            let held = Arc::default();
            let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|one| one.strong_count() > 0);
            all.push(Arc::downgrade(&held));
            held
        });
    });
}

/// Writes what this thread holds.
pub fn flush() {
    MINE.with(|mine| {
        if let Some(held) = mine.get() {
            held.flush();
        }
    });
}

/// Writes what any thread holds: the process ends. One that is writing just now isn't waited for: perhaps
/// nobody reads.
pub fn flush_all() {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    for held in all.iter().filter_map(Weak::upgrade) {
        if let Ok(mut lines) = held.0.try_lock() {
            let _ = put(&mut lines, &mut io::stderr());
        }
    }
}

impl Held {
    fn lines(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) {
        // Nobody is left to tell.
        let _ = put(&mut self.lines(), &mut io::stderr());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.flush();
    }
}

fn put(held: &mut Vec<u8>, to: &mut impl Write) -> io::Result<()> {
    if held.is_empty() {
        return Ok(());
    }
    let written = to.write_all(held);
    held.clear();
    written
}

/// Where the subscriber writes lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// May be held.
    Patient,
    /// Is written at once.
    Urgent,
}

impl Line {
    /// Writes it, or adds it to those that are held. What came before stands before.
    fn go(self, held: Option<&mut Vec<u8>>, line: &[u8], to: &mut impl Write) -> io::Result<()> {
        match (held, self) {
            (Some(held), Self::Patient) => {
                let before = match held.len() + line.len() > MOST {
                    true => put(held, to),
                    false => Ok(()),
                };
                held.extend_from_slice(line);
                before
            }
            (Some(held), Self::Urgent) => {
                let before = put(held, to);
                to.write_all(line).and(before)
            }
            (None, _) => to.write_all(line),
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::Urgent
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        match meta.target() {
            ACCESS => Line::Patient,
            _ => Line::Urgent,
        }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = &mut io::stderr();
        let held = |mine: &OnceCell<Arc<Held>>| match mine.get() {
            Some(held) => self.go(Some(&mut held.lines()), line, stderr),
            None => self.go(None, line, stderr),
        };
        // A thread that is about to end has no place for them any more.
        let gone = MINE.try_with(held);
        gone.unwrap_or_else(|_| stderr.write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
