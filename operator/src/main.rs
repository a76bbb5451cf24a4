//! Edge. The operator as a program: arguments in, exit code out.

use std::process::ExitCode;

use tcpforward_operator::app;
use tcpforward_operator::config::{Args, Config};
use tcpforward_operator::push;
use tcpforward_process::signal;
use tcpforward_process::start::{failed, start, unusable};

fn main() -> ExitCode {
    let args = match start(|args: &Args| &args.log) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => return unusable(&error),
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(
            error @ (app::Error::Overlap(_) | app::Error::Push(push::Error::NotLoopback { .. })),
        ) => unusable(&error),
        Err(error) => failed(&error),
    }
}

fn run(config: Config) -> Result<(), app::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(app::Error::Runtime)?;
    runtime.block_on(async {
        let shutdown = signal::termination().map_err(app::Error::Runtime)?;
        app::run(config, shutdown).await
    })
}
