//! Edge. Arguments to configuration to `app::run` to exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tcpforward_dataplane::app::App;
use tcpforward_dataplane::config::Config;
use tcpforward_dataplane::config::args::Args;
use tcpforward_process::{log, signal};

/// sysexits' EX_USAGE: the command line can't work.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is left to say if the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Err(error) = log::start(&args.log) {
        eprintln!("dataplane: {error}");
        return ExitCode::from(USAGE);
    }
    match Config::try_from(args) {
        Ok(config) => run(config),
        Err(error) => {
            tracing::error!(%error, "bad configuration");
            ExitCode::from(USAGE)
        }
    }
}

fn run(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "can't start");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let started = signal::termination()
            .map_err(|e| e.to_string())
            .and_then(|shutdown| {
                let app = App::new(config, prometheus::default_registry());
                Ok((app.map_err(|e| e.to_string())?, shutdown))
            });
        let ended = match started {
            Ok((app, shutdown)) => app.run(shutdown).await.map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        match ended {
            Ok(_summary) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "can't start");
                ExitCode::FAILURE
            }
        }
    })
}
