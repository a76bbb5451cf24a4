//! Edge. How a program begins: its command line, its logs, and the exit code when they are wrong.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::log;

/// `EX_USAGE` of sysexits.h: the command line can't be used.
pub const USAGE: u8 = 64;

/// Reads the command line and starts the logs.
///
/// # Errors
/// The exit code, after what is wrong, or the help that was asked for, was printed.
pub fn start<A: clap::Parser>(logs: impl FnOnce(&A) -> &log::Options) -> Result<A, ExitCode> {
    start_with(std::env::args_os(), logs)
}

/// The same with a command line that was made ready before.
///
/// # Errors
/// The exit code, after what is wrong, or the help that was asked for, was printed.
pub fn start_with<A: clap::Parser>(
    given: impl IntoIterator<Item = OsString>,
    logs: impl FnOnce(&A) -> &log::Options,
) -> Result<A, ExitCode> {
    let args = A::try_parse_from(given).map_err(|error| {
        // Nothing is left to say if the terminal is gone.
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })?;
    log::start(logs(&args)).map_err(|error| unusable(&error))?;
    Ok(args)
}

/// Prints why a command line can't be used; the exit code for it.
#[must_use]
pub fn unusable(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", crate::causes::chain(error));
    ExitCode::from(USAGE)
}

/// Prints why a program has ended before its time; the exit code for it.
#[must_use]
pub fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", crate::causes::chain(error));
    ExitCode::FAILURE
}
