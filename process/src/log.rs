//! Edge. Where logs go and how they look.

use std::io;

use tracing_subscriber::EnvFilter;

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
    /// A second call.
    #[error("logs are set up twice")]
    Twice,
}

/// Sends all logs of the process to standard error.
///
/// # Errors
/// The filter can't be read, or logs were set up before.
pub fn start(options: &Options) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&options.log).map_err(|source| Error::Filter {
        value: options.log.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
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
