//! Edge. Prints the conditions that an operator would write, as they change.

use std::collections::BTreeMap;

use tcpforward_operator::controller::Forwards;
use tcpforward_operator::status::{PENDING, READY};
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::watch;

type Told = BTreeMap<(ForwardName, String), (String, String, String)>;

/// Prints each condition when it turns, until the operator is gone.
pub(crate) async fn print(mut forwards: watch::Receiver<Forwards>) {
    let mut told = Told::new();
    while forwards.changed().await.is_ok() {
        let now = conditions(&forwards.borrow_and_update());
        for ((forward, kind), (status, reason, message)) in &now {
            let key = (forward.clone(), kind.clone());
            let value = (status.clone(), reason.clone(), message.clone());
            if told.get(&key) == Some(&value) {
                continue;
            }
            // Ready carries the first failing one's words; what is under way is no reason to worry.
            match (kind.as_str(), status.as_str()) {
                (READY, "True") => {
                    tracing::info!(%forward, status, reason, says = message, "ready");
                }
                (READY, _) if reason != PENDING => {
                    tracing::warn!(%forward, status, reason, says = message, "not ready");
                }
                _ => {
                    tracing::debug!(%forward, kind, status, reason, says = message, "condition");
                }
            }
        }
        let gone = told
            .keys()
            .filter(|key| !now.contains_key(key))
            .map(|(forward, _)| forward);
        for forward in gone.collect::<std::collections::BTreeSet<_>>() {
            tracing::info!(%forward, "forward is gone");
        }
        told = now;
    }
}

fn conditions(forwards: &Forwards) -> Told {
    let all = forwards.iter().flat_map(|(name, view)| {
        view.status.conditions.iter().map(move |condition| {
            let key = (name.clone(), condition.type_.clone());
            let (status, reason) = (condition.status.clone(), condition.reason.clone());
            (key, (status, reason, condition.message.clone()))
        })
    });
    all.collect()
}
