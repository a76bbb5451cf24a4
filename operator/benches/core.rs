//! Edge. The pure core with 10,000 forwards: what one changed endpoint costs, from the event to the snapshot.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::Criterion;
use k8s_openapi::serde_json::{Value, from_value, json};
use tcpforward_operator::compile::{Compiler, Rules};
use tcpforward_operator::index::{Event, Index, Object};

const FORWARDS: u16 = 10_000;
const ENDPOINTS: u16 = 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    one_endpoint(&mut criterion);
    criterion.final_summary();
}

fn one_endpoint(criterion: &mut Criterion) {
    let mut index = Index::new();
    index.apply(pool());
    for n in 0..FORWARDS {
        for event in [service(n), slice(n, 0), forward(n)].into_iter().flatten() {
            index.apply(event);
        }
    }
    let mut compiler = Compiler::new(Rules::of_cluster("cluster.local"));
    let all: BTreeSet<_> = index.names().cloned().collect();
    compiler.compile(&index, &all);
    let served = compiler.snapshot("default").forwards().count();
    assert_eq!(served, usize::from(FORWARDS));

    let mut turn: u32 = 0;
    criterion.bench_function("one of 200,000 endpoints changes", |bencher| {
        bencher.iter_batched(
            || {
                turn += 1;
                let n = u16::try_from(turn % u32::from(FORWARDS)).unwrap_or_default();
                slice(n, turn / u32::from(FORWARDS) + 1)
            },
            |event| {
                let touched = event.map(|event| index.apply(event)).unwrap_or_default();
                assert_eq!(touched.len(), 1);
                black_box(compiler.compile(&index, &touched));
                compiler.snapshot("default")
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn pool() -> Event {
    Event::Applied(Object::DataPlane(json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": "default"},
        "spec": {"podNamespace": "proxies", "serviceAccountName": "proxy", "hostNetwork": true},
    })))
}

fn forward(n: u16) -> Option<Event> {
    let target = json!({"name": "a", "service": {"name": format!("s{n}"), "port": "http"}});
    Some(Event::Applied(Object::TcpForward(json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": format!("f{n}"), "namespace": "shop", "generation": 1},
        "spec": {"listener": {"port": 10_000 + n}, "relay": {"targets": [target]}},
    }))))
}

fn service(n: u16) -> Option<Event> {
    let service = json!({
        "metadata": {"name": format!("s{n}"), "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    Some(Event::Applied(Object::Service(from_value(service).ok()?)))
}

/// All endpoints of a Service; the last one is another with each turn.
fn slice(n: u16, turn: u32) -> Option<Event> {
    let [high, low] = n.to_be_bytes();
    let others = (1..ENDPOINTS).map(|last| format!("10.{high}.{low}.{last}"));
    let last = format!("10.{high}.{low}.{}", 100 + turn % 100);
    let addresses = others.chain([last]);
    let endpoints: Vec<Value> = addresses.map(|a| json!({"addresses": [a]})).collect();
    let slice = json!({
        "metadata": {
            "name": format!("s{n}"),
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": format!("s{n}")},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    });
    Some(Event::Applied(Object::EndpointSlice(
        from_value(slice).ok()?,
    )))
}
