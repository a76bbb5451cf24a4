//! Edge. The values of the metrics, read when somebody asks: counting costs sessions nothing that is
//! shared, and the series of a forward that is gone go with it.

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use tcpforward_protocol::answer::RefusalCode;
use tokio::time::Instant;

use super::process::{
    ACCEPT_ERRORS, ACCEPT_WAITS, DESCRIPTORS_FREE, FORWARDS, HANDED_OVER, LAST_GOOD, OPERATORS,
    PORT_WAITS, REFUSED, SHARE_INDEX, SHARE_OF, SNAPSHOT_AGE, SNAPSHOT_EPOCH,
};
use super::{ALL, CONNECT_HASHES, CONNECT_LOOKUPS, LOOKUPS, SESSIONS_CUT};
use crate::app::Handle;
use crate::view::View;
use families::Families;

mod backends;
pub(super) mod families;
mod forwards;

/// Reads all values when somebody asks.
#[derive(Debug)]
pub struct Values {
    handle: Handle,
    descriptions: Vec<Desc>,
}

impl Values {
    /// Those of one data plane.
    ///
    /// # Errors
    /// A name or label is not one.
    pub fn new(handle: Handle) -> Result<Self, prometheus::Error> {
        let descriptions = ALL.iter().map(|metric| {
            let labels = metric.labels.iter().map(ToString::to_string).collect();
            Desc::new(
                metric.name.to_owned(),
                metric.help.to_owned(),
                labels,
                Default::default(),
            )
        });
        Ok(Self {
            descriptions: descriptions.collect::<Result<_, _>>()?,
            handle,
        })
    }
}

impl Collector for Values {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut families = Families::default();
        let now = Instant::now().into_std();
        of_view(&self.handle.view(), now, &mut families);
        of_process(&self.handle, &mut families);
        families.into_inner()
    }
}

/// All that is about forwards, as of then.
pub(super) fn of_view(view: &View, now: std::time::Instant, families: &mut Families) {
    use RefusalCode::{BindFailed, Invalid, Unsupported};
    forwards::add(view, now, families);
    backends::add(view, now, families);
    let rows = view.forwards.values();
    let serving = rows.filter(|row| !row.listeners.is_empty()).count();
    families.add(FORWARDS, one(number(serving)));
    let codes = [
        (BindFailed, "bind_failed"),
        (Invalid, "invalid"),
        (Unsupported, "unsupported"),
    ];
    let refused = codes.map(|(code, word)| {
        let refused = view.refused.values().filter(|r| r.code == code);
        (vec![word], number(refused.count()))
    });
    families.add(REFUSED, refused);
}

fn of_process(handle: &Handle, families: &mut Families) {
    let state = handle.numbers();
    families.add(SESSIONS_CUT, one(state.cut));
    let lookups = [
        (vec!["answered"], state.lookups_answered),
        (vec!["failed"], state.lookups_failed),
    ];
    families.add(LOOKUPS, lookups);
    let names = [
        (vec!["answered"], state.names_answered),
        (vec!["failed"], state.names_failed),
    ];
    families.add(CONNECT_LOOKUPS, names);
    families.add(CONNECT_HASHES, one(state.hashes));
    families.add(ACCEPT_ERRORS, one(state.accept_errors));
    families.add(ACCEPT_WAITS, one(state.accept_waits));
    families.add(PORT_WAITS, one(state.port_waits));
    families.add(HANDED_OVER, one(state.handed_over));
    families.add(DESCRIPTORS_FREE, one(state.descriptors_free));
    families.add(SNAPSHOT_EPOCH, one(state.epoch));
    families.add(
        SNAPSHOT_AGE,
        state.snapshot_age_seconds.map(|age| (Vec::new(), age)),
    );
    families.add(LAST_GOOD, one(state.last_good_failing));
    families.add(OPERATORS, one(state.operators));
    families.add(SHARE_INDEX, one(state.share_index));
    families.add(SHARE_OF, one(state.share_of));
}

fn one(value: u64) -> [(Vec<&'static str>, u64); 1] {
    [(Vec::new(), value)]
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
