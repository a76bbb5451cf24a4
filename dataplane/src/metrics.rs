//! Every metric of the data plane: its name, kind, labels and help, and where its value comes from.
//! Values are read when somebody asks, so counting costs sessions nothing that is shared, and the
//! series of a forward that is gone go with it.

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use tcpforward_process::metric::{Kind, Metric};

use crate::app::Handle;
use crate::relay::ending::Ending;
use crate::served::{DialResult, Totals};
use crate::view::View;

const FORWARD: &[&str] = &["forward"];

const SESSIONS_OPENED: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_opened_total",
    FORWARD,
    "Connections accepted.",
);
const SESSIONS_FINISHED: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_finished_total",
    &["forward", "ending"],
    "Sessions that ended, by who ended them and how; the words are those of the access log.",
);
const SESSIONS_OPEN: Metric = Metric::gauge(
    "tcpforward_dataplane_sessions_open",
    FORWARD,
    "Sessions at present.",
);
const SESSIONS_CUT: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_cut_total",
    &[],
    "Sessions reset because the process ended before they did.",
);
const RELAYED_BYTES: Metric = Metric::counter(
    "tcpforward_dataplane_relayed_bytes_total",
    &["forward", "direction"],
    "Bytes passed on; direction up is towards the backend, down is towards the client.",
);
const DIALS: Metric = Metric::counter(
    "tcpforward_dataplane_dials_total",
    &["forward", "result"],
    "Attempts to reach a backend; result local is trouble of this host, not of the backend.",
);
const BACKENDS: Metric = Metric::gauge(
    "tcpforward_dataplane_backends",
    &["forward", "state"],
    "Backends; state failing: the latest dial failed, usable: any other that takes new sessions, idle: takes none.",
);
const FORWARDS: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_serving",
    &[],
    "Forwards with a bound listener.",
);
const REFUSED: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_refused",
    &["code"],
    "Forwards whose wanted spec is refused; the former one stays in service.",
);
const ACCEPT_ERRORS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_errors_total",
    &[],
    "Connections that could not be accepted; the listener rests 100 ms after each.",
);
const ACCEPT_WAITS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_waits_total",
    &[],
    "Times that a connection had to wait because descriptors were short.",
);
const DESCRIPTORS_FREE: Metric = Metric::gauge(
    "tcpforward_dataplane_descriptors_free",
    &[],
    "Descriptors that sessions and listeners may still open; a session takes two.",
);
const SNAPSHOT_EPOCH: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_epoch",
    &[],
    "Highest epoch applied.",
);
const SNAPSHOT_AGE: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_age_seconds",
    &[],
    "Time since a set was applied; absent before the first one.",
);
const LAST_GOOD: Metric = Metric::gauge(
    "tcpforward_dataplane_last_good_failing",
    &[],
    "1 while the last good snapshot can't be written to disk, else 0.",
);
const OPERATORS: Metric = Metric::gauge(
    "tcpforward_dataplane_operators_connected",
    &[],
    "Replicas of the operator that answer.",
);
const SHARE_INDEX: Metric = Metric::gauge(
    "tcpforward_dataplane_share_index",
    &[],
    "Which part of pool-wide limits this data plane has.",
);
const SHARE_OF: Metric = Metric::gauge(
    "tcpforward_dataplane_share_of",
    &[],
    "Into how many parts pool-wide limits are split; 0 before an operator said so.",
);

/// All of them, in the order of the documentation.
pub const ALL: &[Metric] = &[
    SESSIONS_OPENED,
    SESSIONS_FINISHED,
    SESSIONS_OPEN,
    SESSIONS_CUT,
    RELAYED_BYTES,
    DIALS,
    BACKENDS,
    FORWARDS,
    REFUSED,
    ACCEPT_ERRORS,
    ACCEPT_WAITS,
    DESCRIPTORS_FREE,
    SNAPSHOT_EPOCH,
    SNAPSHOT_AGE,
    LAST_GOOD,
    OPERATORS,
    SHARE_INDEX,
    SHARE_OF,
];

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
    use tcpforward_protocol::answer::RefusalCode::{BindFailed, Invalid, Unsupported};
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
