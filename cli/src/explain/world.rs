//! Edge. What there is to know of a forward: from manifests, or from a cluster.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tcpforward_operator::compile::{self, Compiler, Outcome, PodPorts, Rules};
use tcpforward_operator::files;
use tcpforward_operator::forward;
use tcpforward_operator::index::{Contents, Event, Index};
use tcpforward_operator::manifest;
use tcpforward_protocol::snapshot::{ForwardName, LocalTargets, ServiceName, Settings};

use super::Args;
use super::case::{Place, Users};
use crate::asking;
use crate::trouble::Trouble;

/// What is known, and where from.
pub(super) struct World {
    pub(super) name: ForwardName,
    pub(super) index: Index,
    pub(super) settings: Settings,
    pub(super) place: Place,
    /// By which pools are asked.
    pub(super) rules: compile::Place,
    /// What may not be read: kind and name.
    pub(super) forbidden: Vec<String>,
}

impl World {
    /// Of a cluster, as far as the question needs it.
    pub(super) async fn in_cluster(args: &Args) -> Result<Self, Trouble> {
        let cluster = args.asking.cluster().await?;
        let name = asking::forward_name(&args.forward, cluster.namespace())?;
        let service = args.target.host.service(&args.cluster_domain);
        let seen = cluster.look(&name, service.as_ref()).await?;
        let pool = seen.index.raw(&name).map(forward::pool).unwrap_or_default();
        let unseen = seen.forbidden.contains(&format!("DataPlane {pool}"));
        Ok(Self {
            settings: compile::Place::Cluster.settings(&seen.index, pool),
            name,
            index: seen.index,
            place: Place::Cluster,
            rules: match unseen {
                // What the pool allows is not known; what it says of addresses is strict then.
                true => compile::Place::Manifests,
                false => compile::Place::Cluster,
            },
            forbidden: seen.forbidden,
        })
    }

    /// Of manifests; what is wrong with them is printed.
    pub(super) fn in_manifests(args: &Args, paths: &[PathBuf]) -> Result<Self, Trouble> {
        let texts = files::read(paths)?;
        let parsed = texts.iter().map(|(file, text)| manifest::parse(file, text));
        let parsed = manifest::gather(parsed.collect());
        for finding in &parsed.findings {
            eprintln!("{finding}");
        }
        let mut index = Index::new();
        for located in parsed.objects {
            index.apply(Event::Applied(located.object));
        }
        Ok(Self {
            name: name_of(&args.forward, &index)?,
            index,
            settings: Settings::new(LocalTargets::Allow),
            place: Place::Manifests,
            rules: compile::Place::Manifests,
            forbidden: Vec::new(),
        })
    }

    /// Served or not, it is no proxy.
    pub(super) fn is_relay(&self) -> bool {
        let known = self.index.known(&self.name);
        let draft = known.and_then(|known| known.draft.as_ref().ok());
        draft.is_some_and(|draft| draft.spec.connect.is_none())
    }

    /// What the operator would make of it.
    pub(super) fn outcome(&self, cluster_domain: &str) -> Result<Outcome, Trouble> {
        let mut compiler = Compiler::new(Rules {
            place: self.rules,
            pod_ports: PodPorts::AsWritten,
            ..Rules::of_cluster(cluster_domain)
        });
        let names: BTreeSet<ForwardName> = self.index.names().cloned().collect();
        compiler.compile(&self.index, &names);
        let outcome = compiler.outcome(&self.name).cloned();
        outcome.ok_or_else(|| absent(&self.name.to_string(), &self.index))
    }

    /// Whether it is known who may say who they are.
    pub(super) fn users(&self) -> Users {
        let known = self.index.known(&self.name);
        let secret = known.and_then(|known| known.draft.as_ref().ok()?.secret.as_deref());
        let Some(secret) = secret else {
            return Users::Known;
        };
        let namespace = self.name.namespace();
        match self.index.secret(namespace, secret) {
            None => Users::Unknown(format!(
                "Secret {namespace}/{secret} is not among the manifests"
            )),
            Some(Contents::Forbidden) => Users::Unknown(format!(
                "Secret {namespace}/{secret} can't be read with these rights"
            )),
            Some(_) => Users::Known,
        }
    }

    /// By which grant the forward may go to a Service of another namespace.
    pub(super) fn permitted(&self, service: &ServiceName) -> Option<String> {
        let ServiceName { namespace, name } = service;
        let grant = self
            .index
            .permitted_by(self.name.namespace(), namespace, name);
        let grant = grant.filter(|_| self.name.namespace() != namespace)?;
        Some(format!(
            "namespace {namespace} permits it by its ReferenceGrant {}",
            grant.name
        ))
    }

    /// Whether what leads to a Service could be read.
    pub(super) fn has_seen(&self, service: &ServiceName) -> bool {
        let ServiceName { namespace, name } = service;
        let of_service = format!("Service {namespace}/{name}");
        let hides =
            |what: &String| what.ends_with(&of_service) || what.starts_with("ReferenceGrants");
        !self.forbidden.iter().any(hides)
    }

    /// What else there is to say of a forward in a cluster.
    pub(super) fn notes(&self) -> Vec<String> {
        let unread = self.forbidden.iter();
        let mut notes: Vec<_> = unread
            .map(|what| format!("{what} can't be read with these rights"))
            .collect();
        let status = self.index.status_of(&self.name).unwrap_or_default();
        let conditions = status.conditions.iter();
        // What is wrong with Secret and Service was seen here.
        let of_serving = ["Accepted", "Programmed"];
        let failing = conditions.filter(|condition| {
            of_serving.contains(&condition.type_.as_str()) && condition.status == "False"
        });
        notes.extend(failing.map(|condition| {
            format!(
                "its status says {}=False, {}: {}",
                condition.type_, condition.reason, condition.message
            )
        }));
        notes
    }
}

/// A name alone is enough where only one forward has it.
fn name_of(forward: &str, index: &Index) -> Result<ForwardName, Trouble> {
    if let Some((namespace, name)) = forward.split_once('/') {
        return Ok(ForwardName::new(namespace, name));
    }
    let mut found = index.names().filter(|known| known.name() == forward);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(one), Some(other)) => Err(Trouble::Usage(format!(
            "{forward} is the name of {one} and of {other}: say which, with its namespace"
        ))),
        (None, _) => Err(absent(forward, index)),
    }
}

fn absent(forward: &str, index: &Index) -> Trouble {
    let known: Vec<_> = index.names().map(ToString::to_string).collect();
    let known = match known.as_slice() {
        [] => String::new(),
        known => format!("; there is {}", known.join(", ")),
    };
    Trouble::Usage(format!("there is no TcpForward {forward}{known}"))
}
