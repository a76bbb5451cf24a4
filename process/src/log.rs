//! Edge. Where logs go and how they look.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use lines::Lines;

mod lines;

pub use lines::{ACCESS, flush, flush_all, hold};

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// The options that every program takes for its logs.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How log lines are written, to standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "TCPFORWARD_LOG_FORMAT"
    )]
    pub log_format: Format,
    /// What is logged, for example `info,tcpforward_dataplane=debug,access=off`.
    #[arg(long, global = true, default_value = "info", env = "TCPFORWARD_LOG")]
    pub log: String,
}

/// A filter that can't be read, or logs that were set up before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value of `--log`.
    #[error("--log is {value:?}: expected a level or target=level, separated by commas")]
    Filter {
        /// As given.
        value: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A word of `--log` that is no level.
    #[error(
        "--log is {value:?}: {word:?} is no level: expected off, error, warn, info, debug, trace or target=level"
    )]
    Level {
        /// As given.
        value: String,
        /// The word.
        word: String,
    },
    /// A second call.
    #[error("logs are set up twice")]
    Twice,
}

/// Sends all logs of the process to standard error.
///
/// # Errors
/// The filter can't be read, or logs were set up before.
pub fn start(options: &Options) -> Result<(), Error> {
    check_levels(&options.log)?;
    let filter = EnvFilter::try_new(&options.log).map_err(|source| Error::Filter {
        value: options.log.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines);
    match options.log_format {
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        Format::Text => lines
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .try_init(),
    }
    .map_err(|_| Error::Twice)
}

/// A bare word would be taken for a target, and everything else be silent.
fn check_levels(value: &str) -> Result<(), Error> {
    let words = value.split(',').map(str::trim);
    let mut bare = words.filter(|word| !word.contains(['=', '[']));
    match bare.find(|word| word.parse::<LevelFilter>().is_err()) {
        None => Ok(()),
        Some(word) => Err(Error::Level {
            value: value.to_owned(),
            word: word.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_has_to_be_a_level() {
        for good in [
            "info",
            "warn,access=off",
            "OFF",
            "tcpforward_dataplane=debug,info",
        ] {
            assert!(check_levels(good).is_ok(), "{good}");
        }
        for bad in ["garbage", "info,acces"] {
            assert!(check_levels(bad).is_err(), "{bad}");
        }
    }
}
