//! Edge. Arguments to configuration to `app::run` to exit code.

use std::process::ExitCode;

use tcpforward_dataplane::app::{App, Error};
use tcpforward_dataplane::config::Config;
use tcpforward_dataplane::config::args::Args;
use tcpforward_process::start::{failed, start, unusable};
use tcpforward_process::{log, signal};

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
        Err(error) => failed(&error),
    }
}

fn run(config: Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let ended = runtime.block_on(async {
        let shutdown = signal::termination().map_err(Error::Runtime)?;
        let app = App::new(config, prometheus::default_registry())?;
        app.run(shutdown).await.map(|_summary| ())
    });
    // A worker that is stuck still has lines.
    log::flush_all();
    ended
}
