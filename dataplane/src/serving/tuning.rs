//! Edge. Socket options are tried when a forward comes, so that it is refused before a session
//! needs them; what the kernel takes otherwise than it was written is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::{Forward, ForwardName, ForwardSpec, TcpOptions};

use crate::socket;

/// Options that this host has taken, by forward.
#[derive(Debug, Default)]
pub(super) struct Tuning(BTreeMap<ForwardName, Taken>);

#[derive(Debug)]
struct Taken {
    listener: TcpOptions,
    relay: TcpOptions,
    notes: Vec<String>,
}

impl Tuning {
    /// Tries the options of a forward that listens there, unless they were taken before.
    pub(super) fn refuses(&mut self, forward: &Forward, listener: IpAddr) -> Option<Refusal> {
        let (name, spec) = (&forward.name, &forward.spec);
        if is_plain(spec) {
            self.0.remove(name);
            return None;
        }
        let before = self.0.get(name);
        if before.is_some_and(|taken| taken.is_of(spec)) {
            return None;
        }
        match socket::try_options(spec, listener) {
            Ok(notes) => {
                for note in &notes {
                    tracing::warn!(forward = %name, note, "a socket option is not what was asked for");
                }
                self.0.insert(name.clone(), Taken::new(spec, notes));
                None
            }
            Err(error) => Some(Refusal {
                forward: name.clone(),
                spec_hash: forward.spec_hash,
                code: RefusalCode::Unsupported,
                text: error.to_string(),
            }),
        }
    }

    /// What people should know of the options of a forward.
    pub(super) fn notes(&self, name: &ForwardName) -> &[String] {
        self.0.get(name).map_or(&[], |taken| &taken.notes)
    }

    /// Forgets those of forwards that are gone.
    pub(super) fn keep(&mut self, still: impl Fn(&ForwardName) -> bool) {
        self.0.retain(|name, _| still(name));
    }
}

impl Taken {
    fn new(spec: &ForwardSpec, notes: Vec<String>) -> Self {
        Self {
            listener: spec.listener.tcp.clone(),
            relay: spec.relay.tcp.clone(),
            notes,
        }
    }

    fn is_of(&self, spec: &ForwardSpec) -> bool {
        self.listener == spec.listener.tcp && self.relay == spec.relay.tcp
    }
}

fn is_plain(spec: &ForwardSpec) -> bool {
    let plain = TcpOptions::default();
    spec.listener.tcp == plain && spec.relay.tcp == plain
}
