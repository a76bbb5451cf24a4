//! Pure. TcpForwards, and what each of them names.

use std::collections::BTreeSet;

use serde_json::Value;
use tcpforward_protocol::snapshot::ForwardName;

use super::{Claim, Index, Key, Known, Object, same};
use crate::forward::{self, Destination, Draft};

impl Index {
    pub(super) fn put_forward(&mut self, raw: Value, touched: &mut BTreeSet<ForwardName>) {
        let object = Object::TcpForward(raw);
        let name = ForwardName::new(object.namespace(), object.name());
        let Object::TcpForward(raw) = object else {
            return;
        };
        let claim = Claim::of(&raw);
        if let Some(known) = self.forwards.get_mut(&name)
            && known.claim == claim
            && same::but_for_status(&known.raw, &raw)
        {
            // Mostly our own write: nothing that others share has changed.
            known.raw = raw;
            return;
        }
        self.forget_uses(&name);
        let known = Known {
            draft: forward::parse(&raw),
            claim,
            raw,
        };
        self.uses_of_services.add(&name, services_of(&known));
        self.uses_of_secrets.add(&name, secrets_of(&name, &known));
        self.pools.add_user(forward::pool(&known.raw), &name);
        touched.insert(name.clone());
        self.forwards.insert(name, known);
    }

    pub(super) fn forget_uses(&mut self, name: &ForwardName) {
        if let Some(known) = self.forwards.get(name) {
            self.uses_of_services.remove(name, services_of(known));
            self.uses_of_secrets.remove(name, secrets_of(name, known));
            self.pools.remove_user(forward::pool(&known.raw), name);
        }
    }
}

fn secrets_of<'a>(name: &'a ForwardName, known: &'a Known) -> impl Iterator<Item = Key> + use<'a> {
    let secrets = known.draft.iter().flat_map(Draft::secrets);
    secrets.map(|secret| (name.namespace().to_owned(), secret.clone()))
}

fn services_of(known: &Known) -> impl Iterator<Item = Key> + '_ {
    let destinations = known.draft.iter().flat_map(|draft| &draft.destinations);
    destinations.filter_map(|destination| match destination {
        Destination::Service(service) => Some((service.namespace.clone(), service.name.clone())),
        Destination::Address(_) | Destination::Host => None,
    })
}
