//! Edge. The pages of the data plane: `/livez`, `/readyz` and `/metrics`; `/debug/forwards`.

use prometheus::Registry;
use serde_json::json;
use tcpforward_process::pages::Pages;

use crate::app::Handle;

/// The pages of `--health`.
#[must_use]
pub fn health(handle: &Handle, registry: Registry) -> Pages {
    let (live, ready) = (handle.clone(), handle.clone());
    Pages::new()
        .check("/livez", Box::new(move || live.live()))
        .check("/readyz", Box::new(move || ready.ready()))
        .metrics(registry)
}

/// The pages of `--admin`.
#[must_use]
pub fn debug(handle: &Handle) -> Pages {
    let handle = handle.clone();
    Pages::new().json(
        "/debug/forwards",
        move || json!({ "forwards": handle.forwards() }),
    )
}
