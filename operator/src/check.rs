//! Pure. What is wrong with manifests as a whole: each by itself, and what only shows when they are
//! seen together, such as two forwards on one port.

use std::collections::BTreeSet;

use tcpforward_protocol::snapshot::ForwardName;

use crate::compile::{Compiler, Outcome, Rules};
use crate::forward::Destination;
use crate::index::{Event, Index, Kind};
use crate::manifest::{self, Finding, Located, Parsed};
use crate::resolve::Unresolved;
use crate::status::{BACKEND_NOT_FOUND, SECRET_NOT_FOUND};

/// Reads the texts of files, each with its name, and finds what `run` or a cluster would object to.
/// A Service, Secret or ReferenceGrant that is not among them may be in the cluster, so its absence is no
/// finding; one that permits something else is.
#[must_use]
pub fn manifests<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parsed {
    let files = texts
        .into_iter()
        .map(|(file, text)| manifest::parse(file, text));
    let mut parsed = manifest::gather(files.collect());
    let found = together(&parsed.objects);
    parsed.findings.extend(found);
    parsed
}

fn together(objects: &[Located]) -> Vec<Finding> {
    let mut index = Index::default();
    for located in objects {
        index.apply(Event::Applied(located.object.clone()));
    }
    let mut compiler = Compiler::new(Rules::of_manifests());
    let names: BTreeSet<ForwardName> = index.names().cloned().collect();
    compiler.compile(&index, &names);
    let forwards = objects
        .iter()
        .filter(|located| located.object.kind() == Kind::TcpForward);
    forwards
        .filter_map(|located| {
            let (namespace, name) = (located.object.namespace(), located.object.name());
            let name = ForwardName::new(namespace, name);
            let outcome = compiler.outcomes().get(&name)?;
            let (field, message) = objection(outcome, &index, &name)?;
            Some(Finding {
                file: located.file.clone(),
                line: located.line,
                column: 1,
                object: format!("TcpForward {name}"),
                field,
                value: String::new(),
                message,
                remedy: String::new(),
            })
        })
        .collect()
}

fn objection(outcome: &Outcome, index: &Index, name: &ForwardName) -> Option<(String, String)> {
    if let Err(rejection) = &outcome.accepted {
        return Some((rejection.field.clone(), rejection.message.clone()));
    }
    let unresolved = outcome.unresolved.as_ref();
    let elsewhere = [BACKEND_NOT_FOUND, SECRET_NOT_FOUND];
    let unresolved = unresolved.filter(|unresolved| {
        !elsewhere.contains(&unresolved.reason) && !may_be_granted(index, name, unresolved)
    })?;
    Some((unresolved.field.clone(), unresolved.message.clone()))
}

/// Whether it is about a Service of a namespace whose grants are not among the manifests.
fn may_be_granted(index: &Index, name: &ForwardName, unresolved: &Unresolved) -> bool {
    let draft = index
        .known(name)
        .and_then(|known| known.draft.as_ref().ok());
    let targets = draft
        .into_iter()
        .flat_map(|draft| draft.destinations.iter().zip(&draft.places));
    let mut namespaces = targets.filter_map(|(destination, place)| match destination {
        Destination::Service(reference)
            if unresolved.is_for_want_of_a_grant()
                && unresolved.field.starts_with(&format!("{}.", place.field)) =>
        {
            Some(&reference.namespace)
        }
        _ => None,
    });
    namespaces.any(|namespace| index.grants(namespace).next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(name: &str, port: u16, target: &str) -> String {
        format!(
            "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: {name}}}\n\
             spec:\n  listener: {{port: {port}}}\n  relay:\n    targets:\n    - {{name: a, {target}}}\n---\n"
        )
    }

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let findings = manifests([("x.yaml", text)]).findings;
        findings
            .into_iter()
            .map(|f| (f.line, f.field, f.message))
            .collect()
    }

    #[test]
    fn two_forwards_on_one_port_are_a_finding_of_the_second() {
        let to = "address: {host: 127.0.0.1, port: 9001}";
        let both = forward("one", 8888, to) + &forward("two", 8888, to);
        let found = found(&both);
        let [(line, field, message)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((*line, field.as_str()), (10, "spec.listener.port"));
        assert!(message.contains("default/one"), "{message}");
    }

    #[test]
    fn only_a_service_that_is_given_can_be_wrong() {
        let to = "service: {name: web, port: http}";
        assert_eq!(found(&forward("one", 8888, to)), []);
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  \
                       ports: [{name: https, port: 443}]\n---\n";
        let found = found(&(forward("one", 8888, to) + service));
        let [(_, field, message)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(field.contains("targets[0].service"), "{field}");
        assert!(message.contains("https"), "{message}");
    }

    #[test]
    fn only_a_grant_that_is_given_can_be_wrong() {
        let to = "service: {name: web, namespace: data, port: http}";
        let one = forward("one", 8888, to);
        assert_eq!(found(&one), []);
        let grant = |from: &str| {
            format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, \
                 namespace: data}}\nspec:\n  from: [{{group: tcpforward.dev, kind: TcpForward, \
                 namespace: {from}}}]\n  to: [{{group: \"\", kind: Service}}]\n---\n"
            )
        };
        assert_eq!(found(&(one.clone() + &grant("default"))), []);
        let found = found(&(one + &grant("shop")));
        let [(_, field, message)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(field, "spec.relay.targets[0].service.namespace");
        assert!(message.contains("does not permit it"), "{message}");
    }
}
