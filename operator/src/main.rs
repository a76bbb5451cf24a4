//! Edge. The operator as a program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use tcpforward_operator::app;
use tcpforward_operator::config::{Args, Config};
use tcpforward_process::{log, signal};

/// `EX_USAGE` of sysexits.h: the command line can't be used.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let started = log::start(&args.log).map_err(anyhow::Error::from);
    let config = started.and_then(|()| Ok(Config::try_from(args)?));
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            eprintln!("operator: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("operator: {error:#}");
            match error.downcast_ref::<app::Error>() {
                Some(app::Error::Push(tcpforward_operator::push::Error::NotLoopback {
                    ..
                })) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { Ok(app::run(config, signal::termination()?).await?) })
}
