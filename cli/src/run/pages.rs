//! Edge. The pages of both halves as one: ready when both are, and each forward with what the
//! operator thinks of it and what the data plane does.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use serde_json::{Value, json};
use tcpforward_dataplane::app::Handle;
use tcpforward_operator::admin::Insight;
use tcpforward_process::pages::{self, Pages};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Serves the debug pages on the first listener and the health pages on the last, which may be the
/// same one.
pub(crate) fn serve(
    tasks: &mut JoinSet<()>,
    listeners: Vec<(&'static str, SocketAddr, TcpListener)>,
    operator: &Insight,
    dataplane: &Handle,
    registry: &Registry,
) {
    let last = listeners.len().saturating_sub(1);
    for (i, (flag, address, listener)) in listeners.into_iter().enumerate() {
        let mut pages = Pages::new();
        if i == 0 {
            pages = pages.and(debug(operator, dataplane));
        }
        if i == last {
            pages = pages.and(health(operator, dataplane, registry.clone()));
        }
        tracing::info!(%address, flag, "pages are served");
        tasks.spawn(pages::serve(
            listener,
            Arc::new(pages),
            std::future::pending(),
        ));
    }
}

fn health(operator: &Insight, dataplane: &Handle, registry: Registry) -> Pages {
    let live = (operator.clone(), dataplane.clone());
    let ready = live.clone();
    Pages::new()
        .check(
            "/livez",
            Box::new(move || live.0.live().and_then(|()| live.1.live())),
        )
        .check(
            "/readyz",
            Box::new(move || ready.0.ready().and_then(|()| ready.1.ready())),
        )
        .metrics(registry)
}

fn debug(operator: &Insight, dataplane: &Handle) -> Pages {
    let (operator, dataplane) = (operator.clone(), dataplane.clone());
    Pages::new().json("/debug/forwards", move || {
        let mut page = operator.debug_forwards();
        let served = dataplane.forwards();
        let forwards = page.get_mut("forwards").and_then(Value::as_array_mut);
        for forward in forwards
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let part = |key| forward.get(key).and_then(Value::as_str).unwrap_or_default();
            let name = format!("{}/{}", part("namespace"), part("name"));
            let served = served.iter().find(|served| served.name == name);
            forward.insert("dataPlane".to_owned(), json!(served));
        }
        page
    })
}
