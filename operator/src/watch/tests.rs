use std::collections::BTreeMap;
use std::time::Duration;

use kube::core::ObjectMeta;
use prometheus::Registry;
use serde_json::json;

use super::*;
use crate::scripted::api_server;

const PATIENCE: Duration = Duration::from_secs(120);

fn service(namespace: &str, name: &str) -> Service {
    Service {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            managed_fields: Some(Vec::new()),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn convert(service: Service) -> Option<Object> {
    assert!(service.metadata.managed_fields.is_none());
    Some(Object::Service(Box::new(service)))
}

fn words(events: Vec<Event>) -> Vec<String> {
    let word = |event: Event| match event {
        Event::Applied(object) => format!("applied {}/{}", object.namespace(), object.name()),
        Event::Deleted {
            namespace, name, ..
        } => format!("deleted {namespace}/{name}"),
        Event::Replaced(_, objects) => {
            let names: Vec<_> = objects
                .iter()
                .map(|o| format!("{}/{}", o.namespace(), o.name()))
                .collect();
            format!("all {}", names.join(" "))
        }
        Event::Sight(sight) => format!("{sight:?}"),
        Event::Entrances(news) => format!("{news:?}"),
    };
    events.into_iter().map(word).collect()
}

fn list(gathering: &mut Gathering, source: usize, services: &[Service]) -> Vec<String> {
    let mut said = words(gathering.take::<Service>(source, watcher::Event::Init, convert));
    for service in services {
        let event = watcher::Event::InitApply(service.clone());
        said.extend(words(gathering.take(source, event, convert)));
    }
    assert!(said.is_empty(), "half a list: {said:?}");
    words(gathering.take::<Service>(source, watcher::Event::InitDone, convert))
}

#[test]
fn a_list_comes_whole_each_time() {
    let mut gathering = Gathering::new(Kind::Service, 1);
    let said = list(&mut gathering, 0, &[service("a", "x"), service("b", "y")]);
    assert_eq!(said, ["all a/x b/y"]);
    let event = watcher::Event::Apply(service("a", "z"));
    assert_eq!(words(gathering.take(0, event, convert)), ["applied a/z"]);
    let event = watcher::Event::Delete(service("a", "x"));
    assert_eq!(words(gathering.take(0, event, convert)), ["deleted a/x"]);
    assert_eq!(list(&mut gathering, 0, &[]), ["all "]);
}

#[test]
fn several_namespaces_are_joined_before_anything_is_shown() {
    let mut gathering = Gathering::new(Kind::Service, 2);
    assert!(list(&mut gathering, 0, &[service("a", "x")]).is_empty());
    let early = watcher::Event::Apply(service("a", "y"));
    assert!(gathering.take(0, early, convert).is_empty());
    let early = watcher::Event::Delete(service("a", "x"));
    assert!(gathering.take(0, early, convert).is_empty());
    let said = list(&mut gathering, 1, &[service("b", "z")]);
    assert_eq!(said, ["all a/y b/z"]);
    let said = list(&mut gathering, 0, &[service("a", "new")]);
    assert_eq!(said, ["deleted a/y", "applied a/new"]);
}

#[test]
fn nodes_that_may_not_be_read_count_as_none_once() {
    let mut gathering = Gathering::new(Kind::Node, 1);
    assert_eq!(words(gathering.give_up(0)), ["all "]);
    assert!(gathering.give_up(0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn ranges_that_an_older_api_server_does_not_know_count_as_none() {
    let (client, mut server) = api_server();
    let (events, mut seen) = mpsc::channel(8);
    let sink = Sink {
        kind: Kind::ServiceCidr,
        events,
        metrics: Metrics::new(&Registry::new()).unwrap(),
    };
    let api = vec![Api::<ServiceCIDR>::all(client)];
    let config = watcher::Config::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(sink, api, config, service_cidr));
    let path = "GET /apis/networking.k8s.io/v1/servicecidrs";
    server.expect(path, PATIENCE).await.no_such_path();
    let all = tokio::time::timeout(PATIENCE, seen.recv()).await.unwrap();
    assert_eq!(words(all.into_iter().collect()), ["all "]);
    // It may be upgraded.
    drop(server.expect(path, PATIENCE).await.hang());
}

#[test]
fn a_tcp_forward_of_any_shape_is_taken_as_it_is() {
    let raw =
        json!({"metadata": {"namespace": "a", "name": "x"}, "spec": {"listener": "nonsense"}});
    let object = serde_json::from_value(raw).unwrap();
    let Some(Object::TcpForward(seen)) = tcp_forward(object) else {
        panic!("not taken")
    };
    assert_eq!(seen["apiVersion"], "tcpforward.dev/v1alpha1");
    assert_eq!(seen["kind"], "TcpForward");
    assert_eq!(seen["spec"]["listener"], "nonsense");
}

#[test]
fn zones_change_only_with_nodes() {
    let node = |zone: Option<&str>| {
        Event::Applied(Object::Node {
            name: "n".to_owned(),
            zone: zone.map(str::to_owned),
            ranges: Vec::new(),
        })
    };
    let mut zones = Zones::default();
    let expected = BTreeMap::from([("n".to_owned(), "z".to_owned())]);
    assert_eq!(zones.take(&node(Some("z"))), Some(expected));
    assert_eq!(zones.take(&node(Some("z"))), None);
    assert_eq!(
        zones.take(&Event::Replaced(Kind::Service, Vec::new())),
        None
    );
    assert_eq!(
        zones.take(&Event::Replaced(Kind::Node, Vec::new())),
        Some(BTreeMap::new())
    );
}
