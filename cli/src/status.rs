//! Edge. Says how forwards in a cluster are, by their statuses alone, with the rights of whoever asks.

mod detail;
mod list;
mod pools;
mod report;
mod table;
mod view;

use std::process::ExitCode;

use k8s_openapi::jiff::Timestamp;
use tcpforward_operator::glance::{Cluster, Which};
use tcpforward_operator::index::Index;
use tcpforward_process::causes::chain;

use pools::Pools;
use view::{Truth, View};

use crate::asking::{self, Asking, Form};
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
    #[command(flatten)]
    asking: Asking,
}

/// Prints how they are. Exit code 0: each one is ready, 1: one is not, 64: there is no such one, 69:
/// nothing was found out.
pub(crate) async fn run(args: Args) -> ExitCode {
    exit_code(status(&args).await)
}

async fn status(args: &Args) -> Result<bool, Trouble> {
    let cluster = args.asking.cluster().await?;
    let which = which(args, cluster.namespace())?;
    let mut index = cluster.forwards(&which).await?;
    let names = index.names();
    let views: Vec<View> = names.filter_map(|name| View::of(&index, name)).collect();
    if let (Which::One(name), []) = (&which, views.as_slice()) {
        return Err(Trouble::Usage(format!("there is no TcpForward {name}")));
    }
    let pools = pools(&cluster, &which, &views, &mut index).await;
    let text = match (&which, views.as_slice()) {
        (_, views) if args.asking.output == Form::Json => asking::json(&report::of(views, &pools)),
        (Which::One(_), [view, ..]) => detail::text(view, Timestamp::now()) + &pools.detail(),
        (which, []) => {
            eprintln!("{}", terminal::plain(&nothing(which)));
            pools.table()
        }
        (which, views) => beneath(list::text(views, which), &pools.table()),
    };
    asking::print(&text)?;
    Ok(views.iter().all(|view| view.ready.is == Truth::True))
}

/// The DataPlanes of these forwards, or all of the cluster. Who may not read them sees the forwards all
/// the same.
async fn pools(cluster: &Cluster, which: &Which, views: &[View], index: &mut Index) -> Pools {
    let used_by = (*which != Which::All).then_some(views);
    let one = match (which, views) {
        (Which::One(_), [view]) => Some(view.pool.as_str()),
        (Which::Namespace(_), []) => return Pools::of(index, used_by, None),
        _ => None,
    };
    let read = cluster.data_planes(one, index).await;
    Pools::of(index, used_by, read.err().map(|error| chain(&error)))
}

/// One table beneath the other.
fn beneath(above: String, below: &str) -> String {
    match below {
        "" => above,
        below => format!("{above}\n{below}"),
    }
}

fn which(args: &Args, default: &str) -> Result<Which, Trouble> {
    let given = args.namespace.as_deref().map(asking::namespace);
    let given = given.transpose()?;
    let Some(forward) = args.forward.as_deref() else {
        return Ok(match args.all_namespaces {
            true => Which::All,
            false => Which::Namespace(given.unwrap_or(default).to_owned()),
        });
    };
    let its = forward.split_once('/').map(|(namespace, _)| namespace);
    if its.is_some_and(|its| given.is_some_and(|given| given != its)) {
        return Err(Trouble::Usage(format!(
            "{forward} says another namespace than --namespace: leave one of them out"
        )));
    }
    let name = asking::forward_name(forward, given.unwrap_or(default))?;
    Ok(Which::One(name))
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
