//! Edge. The values of the metrics, read when somebody asks: counting costs sessions nothing that is
//! shared, and the series of a forward that is gone go with it.

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use tcpforward_process::metric::{Kind, Metric};
use tcpforward_protocol::answer::RefusalCode;

use super::{
    ACCEPT_ERRORS, ACCEPT_WAITS, ALL, BACKENDS, DESCRIPTORS_FREE, DIALS, FORWARDS, LAST_GOOD,
    OPERATORS, REFUSED, RELAYED_BYTES, SESSIONS_CUT, SESSIONS_FINISHED, SESSIONS_OPEN,
    SESSIONS_OPENED, SHARE_INDEX, SHARE_OF, SNAPSHOT_AGE, SNAPSHOT_EPOCH,
};
use crate::app::Handle;
use crate::relay::ending::Ending;
use crate::served::{DialResult, Totals};
use crate::view::View;

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
        of_forwards(&self.handle, &mut families);
        of_process(&self.handle, &mut families);
        families.0
    }
}

fn of_forwards(handle: &Handle, families: &mut Families) {
    let view = handle.view();
    let rows: Vec<(String, Totals)> = view
        .forwards
        .iter()
        .map(|(name, row)| (name.to_string(), row.served.totals()))
        .collect();
    let each = |f: fn(&Totals) -> u64| {
        rows.iter()
            .map(move |(name, totals)| (vec![name.as_str()], f(totals)))
    };
    families.add(SESSIONS_OPENED, each(|t| t.opened));
    families.add(SESSIONS_OPEN, each(Totals::open));
    let finished = rows.iter().flat_map(|(name, totals)| {
        let words = Ending::ALL.iter().map(|ending| ending.word());
        words
            .zip(totals.finished)
            .map(|(word, count)| (vec![name.as_str(), word], count))
    });
    families.add(SESSIONS_FINISHED, finished);
    let bytes = rows.iter().flat_map(|(name, totals)| {
        [("up", totals.up), ("down", totals.down)].map(|(way, n)| (vec![name.as_str(), way], n))
    });
    families.add(RELAYED_BYTES, bytes);
    let dials = rows.iter().flat_map(|(name, totals)| {
        let words = DialResult::ALL.iter().map(|result| result.word());
        words
            .zip(totals.dials)
            .map(|(word, count)| (vec![name.as_str(), word], count))
    });
    families.add(DIALS, dials);
    of_backends(&view, families);
}

fn of_backends(view: &View, families: &mut Families) {
    use RefusalCode::{BindFailed, Invalid, Unsupported};
    let people = view.for_people();
    let backends = people.iter().flat_map(|forward| {
        let failing = forward
            .backends
            .iter()
            .filter(|b| b.failing.is_some())
            .count();
        let idle = forward
            .backends
            .iter()
            .filter(|b| b.failing.is_none() && !b.takes_new)
            .count();
        let usable = forward.backends.len() - failing - idle;
        [("failing", failing), ("idle", idle), ("usable", usable)]
            .map(|(state, n)| (vec![forward.name.as_str(), state], number(n)))
    });
    families.add(BACKENDS, backends);
    let serving = view
        .forwards
        .values()
        .filter(|row| !row.listeners.is_empty())
        .count();
    families.add(FORWARDS, one(number(serving)));
    let codes = [
        (BindFailed, "bind_failed"),
        (Invalid, "invalid"),
        (Unsupported, "unsupported"),
    ];
    let refused = codes.map(|(code, word)| {
        (
            vec![word],
            number(view.refused.values().filter(|r| r.code == code).count()),
        )
    });
    families.add(REFUSED, refused);
}

fn of_process(handle: &Handle, families: &mut Families) {
    let state = handle.numbers();
    families.add(SESSIONS_CUT, one(state.cut));
    families.add(ACCEPT_ERRORS, one(state.accept_errors));
    families.add(ACCEPT_WAITS, one(state.accept_waits));
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

#[derive(Default)]
struct Families(Vec<proto::MetricFamily>);

impl Families {
    fn add<'a>(&mut self, metric: Metric, values: impl IntoIterator<Item = (Vec<&'a str>, u64)>) {
        let series = values.into_iter().map(|(labels, value)| {
            let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value.to_owned());
                pair
            });
            let mut series = proto::Metric::from_label(pairs.collect());
            #[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
            let value = value as f64;
            match metric.kind {
                Kind::Counter => {
                    let mut counter = proto::Counter::default();
                    counter.set_value(value);
                    series.set_counter(counter);
                }
                Kind::Gauge | Kind::Histogram => {
                    let mut gauge = proto::Gauge::default();
                    gauge.set_value(value);
                    series.set_gauge(gauge);
                }
            }
            series
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge | Kind::Histogram => proto::MetricType::GAUGE,
        });
        family.set_metric(series.collect());
        self.0.push(family);
    }
}
