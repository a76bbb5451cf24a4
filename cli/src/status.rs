//! Edge. Says how forwards in a cluster are, by their statuses alone, with the rights of whoever asks.

mod detail;
mod list;
mod report;
mod view;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use k8s_openapi::jiff::Timestamp;
use tcpforward_operator::glance::{Cluster, Which};
use tcpforward_protocol::snapshot::ForwardName;

use view::{Truth, View};

use crate::terminal;
use crate::trouble::{Trouble, exit_code};

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One TcpForward in full, as NAME or NAMESPACE/NAME; absent: all of a namespace, a line each.
    forward: Option<String>,
    /// Their namespace; absent: that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Those of all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "forward"])]
    all_namespaces: bool,
    /// Of the cluster; absent: as kubectl finds it, or as a pod does.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; absent: its current one.
    #[arg(long)]
    context: Option<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// Prints how they are. Exit code 0: each one is ready, 1: one is not, 64: there is no such one, 69:
/// nothing was found out.
pub(crate) async fn run(args: Args) -> ExitCode {
    exit_code(status(&args).await)
}

async fn status(args: &Args) -> Result<bool, Trouble> {
    let cluster = Cluster::find(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    let which = which(args, cluster.namespace())?;
    let index = cluster.forwards(&which).await?;
    let names = index.names();
    let views: Vec<View> = names.filter_map(|name| View::of(&index, name)).collect();
    let text = match (&which, views.as_slice()) {
        (Which::One(name), []) => {
            return Err(Trouble::Usage(format!("there is no TcpForward {name}")));
        }
        (_, views) if args.output == Form::Json => terminal::json(&report::of(views)) + "\n",
        (Which::One(_), [view, ..]) => detail::text(view, Timestamp::now()),
        (which, []) => {
            eprintln!("{}", terminal::plain(&nothing(which)));
            String::new()
        }
        (which, views) => list::text(views, which),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(views.iter().all(|view| view.ready.is == Truth::True))
}

fn which(args: &Args, default: &str) -> Result<Which, Trouble> {
    let given = args.namespace.as_deref();
    let Some(forward) = args.forward.as_deref() else {
        return Ok(match args.all_namespaces {
            true => Which::All,
            false => Which::Namespace(given.unwrap_or(default).to_owned()),
        });
    };
    let (namespace, name) = match forward.split_once('/') {
        Some((namespace, _)) if given.is_some_and(|given| given != namespace) => {
            return Err(Trouble::Usage(format!(
                "{forward} says another namespace than --namespace: leave one of them out"
            )));
        }
        Some(both) => both,
        None => (given.unwrap_or(default), forward),
    };
    if [namespace, name].iter().any(|part| !is_name(part)) {
        return Err(Trouble::Usage(format!(
            "FORWARD is {forward}: expected NAME or NAMESPACE/NAME, of a-z, 0-9, - and ."
        )));
    }
    Ok(Which::One(ForwardName::new(namespace, name)))
}

/// Whatever else is no part of a path of the API server either.
fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !text.is_empty() && text.chars().all(is_allowed)
}

fn nothing(which: &Which) -> String {
    match which {
        Which::Namespace(namespace) => {
            format!("no TcpForwards in namespace {namespace}; -A looks in all of them")
        }
        Which::All | Which::One(_) => "no TcpForwards in this cluster".to_owned(),
    }
}

#[cfg(test)]
mod tests;
