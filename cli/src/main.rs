//! Edge. `tcpforward`: the whole forwarder in one command, and tools around it.

mod asking;
mod check;
mod demo_server;
mod explain;
mod plugin;
mod run;
mod status;
mod terminal;
mod trouble;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tcpforward_process::start::{failed, start_with};
use tcpforward_process::{log, signal};

/// A TCP forwarder: relays, balances, fails over.
#[derive(Debug, Parser)]
#[command(name = "tcpforward", version, arg_required_else_help = true)]
struct Args {
    #[command(flatten)]
    log: log::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forward what manifests say, with no cluster.
    Run(run::Args),
    /// Say what is wrong with manifests; exit 1 if anything is.
    Check(check::Args),
    /// Say what a CONNECT proxy would answer to a request, and why: exit 0 for a tunnel, 1 for none.
    Explain(explain::Args),
    /// Say how forwards in a cluster are, and why one is not ready: exit 0 if each one is, 1 if not.
    Status(status::Args),
    /// Answer HTTP requests with a name: something to forward to.
    DemoServer(demo_server::Args),
}

fn main() -> ExitCode {
    let given = plugin::arguments(&mut Args::command(), std::env::args_os());
    let args = match start_with(given, |args: &Args| &args.log) {
        Ok(args) => args,
        Err(code) => return code,
    };
    command(args.command).unwrap_or_else(|error| failed(error.as_ref()))
}

fn command(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Run(args) => {
            let ended = runtime.block_on(async { run::run(args, signal::termination()?).await });
            // After a second signal workers still have lines.
            log::flush_all();
            ended
        }
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => Ok(runtime.block_on(explain::run(args))),
        Command::Status(args) => Ok(runtime.block_on(status::run(args))),
        Command::DemoServer(args) => runtime.block_on(async {
            demo_server::run(args, signal::termination()?)
                .await
                .map(|()| ExitCode::SUCCESS)
        }),
    }
}
