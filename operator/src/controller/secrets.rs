//! Edge. What the controller waits for before it compiles forwards that name Secrets.

use std::collections::BTreeSet;

use tcpforward_protocol::snapshot::ForwardName;

use super::Controller;

impl Controller {
    /// Says which Secrets are needed; names the forwards whose Secret was not read yet.
    pub(super) fn ask_for_secrets(&self) -> BTreeSet<ForwardName> {
        let Some(secrets) = &self.outputs.secrets else {
            return BTreeSet::new();
        };
        let needed = self.index.secrets_in_use();
        secrets.send_if_modified(|asked| {
            let changed = *asked != needed;
            *asked = needed;
            changed
        });
        self.index.waiting_for_secrets()
    }
}
