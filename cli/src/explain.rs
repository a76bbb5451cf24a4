//! Edge. Says what a proxy would answer to a CONNECT, and why. Names may be looked up; nothing is sent
//! to the target.

mod case;
mod explanation;
mod show;
mod world;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use tcpforward_dataplane::connect::names::{self, Answer};
use tcpforward_dataplane::connect::proxy::Proxy;
use tcpforward_dataplane::connect::target::{Host, Target};
use tcpforward_dataplane::shared::Shared;
use tcpforward_operator::compile::{self, Outcome};
use tcpforward_protocol::snapshot::{Forward, ForwardName, Via};
use tokio::task::JoinSet;

use case::{Case, Next, parent};
use explanation::{Explanation, not_served};
use show::{Head, json, text};
use world::World;

use crate::asking::{self, Asking, Form};
use crate::trouble::{Trouble, exit_code};

/// What is wrong there is wrong with the Secret of users.
const AUTHENTICATION: &str = "spec.httpConnect.authentication";

/// Descriptors that questions of DNS may take.
const DESCRIPTORS: usize = 64;

/// What to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The TcpForward, as NAME or NAMESPACE/NAME.
    forward: String,
    /// What a client asks for, as HOST:PORT.
    #[arg(value_name = "HOST:PORT", value_parser = target)]
    target: Target,
    /// Manifests, or folders of them; absent: what a cluster has is read.
    #[arg(conflicts_with_all = ["kubeconfig", "context"])]
    paths: Vec<PathBuf>,
    /// User that asks, with the right password.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Address of the client.
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
    /// The cluster's domain, as the operator has it.
    #[arg(long, default_value = tcpforward_operator::config::CLUSTER_DOMAIN)]
    cluster_domain: String,
    /// Judge without looking the name up.
    #[arg(long)]
    no_dns: bool,
    /// A DNS server, as IP:PORT; repeatable. Absent: those of /etc/resolv.conf.
    #[arg(long = "dns-server", conflicts_with = "no_dns")]
    dns_servers: Vec<SocketAddr>,
    #[command(flatten)]
    asking: Asking,
}

/// Prints what would be answered. Exit code 0: a tunnel, 1: none, 64: no such question, 69: nothing was
/// found out.
pub(crate) async fn run(args: Args) -> ExitCode {
    exit_code(explain(&args).await)
}

async fn explain(args: &Args) -> Result<bool, Trouble> {
    let world = match args.paths.as_slice() {
        [] => World::in_cluster(args).await?,
        paths => World::in_manifests(args, paths)?,
    };
    let outcome = world.outcome(&args.cluster_domain)?;
    if world.is_relay() {
        return Err(relays(&world.name));
    }
    let mut head = Head {
        forward: &world.name,
        mode: None,
        target: &args.target,
        user: args.user.as_deref(),
        from: args.from,
    };
    let explanation = match (&outcome.accepted, &outcome.forward) {
        (Ok(()), Some(forward)) => {
            head.mode = forward.spec.connect.as_ref().map(|connect| connect.mode);
            judge(args, &world, &outcome, forward).await?
        }
        (Err(rejection), _) => not_served(&rejection.message),
        (Ok(()), None) => not_served("no data plane gets it"),
    };
    let is_allowed = explanation.answer.is_allowed();
    asking::print(&match args.asking.output {
        Form::Json => asking::json(&json(&head, &explanation)),
        Form::Text => text(&head, &explanation),
    })?;
    Ok(is_allowed)
}

async fn judge(
    args: &Args,
    world: &World,
    outcome: &Outcome,
    forward: &Forward,
) -> Result<Explanation, Trouble> {
    let Some(connect) = &forward.spec.connect else {
        return Err(relays(&world.name));
    };
    let proxy = Proxy::new(connect);
    let trouble = outcome.unresolved.as_ref();
    let trouble = trouble.filter(|found| found.field.starts_with(AUTHENTICATION));
    let case = Case {
        proxy: &proxy,
        listener: &forward.spec.listener,
        settings: world.settings.clone(),
        place: world.place,
        target: &args.target,
        user: args.user.as_deref(),
        from: args.from,
        users: world.users(),
        trouble: trouble.map(|found| found.message.as_str()),
    };
    let via = forward.spec.via.as_ref();
    let mut explanation = match case.begin() {
        Next::Said(explanation) => explanation,
        Next::Service { rule, service } => {
            let name = service.target(args.target.port);
            let found = compile::target(&world.index, &world.name, &name, &world.settings);
            let found = world.has_seen(&service).then_some(found);
            let found = found.map(Option::unwrap_or_default);
            let mut explanation = case.by_service(rule, &service, found);
            explanation.notes.extend(world.permitted(&service));
            explanation
        }
        Next::Addresses => match via.and_then(|via| case.by_parent(via)) {
            Some(said) => said,
            None => by_addresses(args, &case, via).await,
        },
    };
    explanation.notes.extend(world.notes());
    Ok(explanation)
}

async fn by_addresses(args: &Args, case: &Case<'_>, via: Option<&Via>) -> Explanation {
    let mut explanation = match &args.target.host {
        Host::Address(ip) => case.by_addresses(&Ok(Arc::from([*ip]))),
        Host::Name(_) if args.no_dns => case.without_addresses(),
        Host::Name(name) => case.by_addresses(&lookup(name, &args.dns_servers).await),
    };
    if let Some(via) = via.filter(|_| explanation.answer.is_allowed()) {
        explanation.notes.push(parent::note(via));
    }
    explanation
}

/// As a data plane on this host would look it up.
async fn lookup(name: &str, servers: &[SocketAddr]) -> Answer {
    let shared = Arc::new(Shared::new(DESCRIPTORS, 1));
    let mut asking = JoinSet::new();
    asking.spawn(names::run(Arc::clone(&shared), servers.to_vec()));
    shared.names.lookup(name).await
}

fn relays(name: &ForwardName) -> Trouble {
    Trouble::Usage(format!(
        "TcpForward {name} relays: its clients don't say where they want to go. What is explained is \
         a TcpForward with httpConnect; for one with relay, `tcpforward status {name}` shows \
         its backends"
    ))
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text.as_bytes()).map_err(|error| error.to_string())
}
