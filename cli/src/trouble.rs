//! Edge. Why a question has no answer, and the exit code for it.

use std::process::ExitCode;

use tcpforward_process::causes::chain;
use tcpforward_process::start::USAGE;

use crate::terminal::plain;

/// `EX_UNAVAILABLE` of sysexits.h: nothing was found out, which is neither a yes nor a no.
const UNAVAILABLE: u8 = 69;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The question can't be asked.
    Usage(String),
    /// Something can't be read.
    Unavailable(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Exit code 0: yes, 1: no, 64: no such question, 69: nothing was found out; then it is printed why.
pub(crate) fn exit_code(answer: Result<bool, Trouble>) -> ExitCode {
    let (text, code) = match answer {
        Ok(is_yes) => return ExitCode::from(u8::from(!is_yes)),
        Err(Trouble::Usage(text)) => (text, USAGE),
        Err(Trouble::Unavailable(error)) => (chain(error.as_ref()), UNAVAILABLE),
    };
    eprintln!("{}", plain(&text));
    ExitCode::from(code)
}
