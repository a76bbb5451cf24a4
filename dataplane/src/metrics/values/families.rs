//! Edge. Values in the form that Prometheus wants.

use prometheus::proto;
use tcpforward_process::metric::{Kind, Metric};

/// All that was read.
#[derive(Default)]
pub(in crate::metrics) struct Families(Vec<proto::MetricFamily>);

/// Observations by size.
pub(super) struct Histogram<'a> {
    /// Upper bounds of all classes but the last.
    pub(super) bounds: &'a [f64],
    /// In each class.
    pub(super) counts: &'a [u64],
    /// Of all observations.
    pub(super) sum: f64,
}

impl Families {
    /// Series with whole numbers.
    pub(super) fn add<'a>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) {
        let values = values.into_iter();
        self.add_fractions(metric, values.map(|(labels, value)| (labels, float(value))));
    }

    /// Series with other numbers.
    pub(super) fn add_fractions<'a>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) {
        let all = values.into_iter().map(|(labels, value)| {
            let mut series = series(metric, &labels);
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
        let all = all.collect();
        self.push(metric, all);
    }

    /// Series of observations.
    pub(super) fn add_histograms<'a>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = (Vec<&'a str>, Histogram<'a>)>,
    ) {
        let all = values.into_iter().map(|(labels, histogram)| {
            let mut series = series(metric, &labels);
            series.set_histogram(histogram.into());
            series
        });
        let all = all.collect();
        self.push(metric, all);
    }

    fn push(&mut self, metric: Metric, series: Vec<proto::Metric>) {
        let mut family = proto::MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(series);
        self.0.push(family);
    }

    /// What was added, in that order.
    pub(in crate::metrics) fn into_inner(self) -> Vec<proto::MetricFamily> {
        self.0
    }
}

impl From<Histogram<'_>> for proto::Histogram {
    fn from(histogram: Histogram<'_>) -> Self {
        let mut up_to = 0;
        let mut buckets = Vec::new();
        for (bound, count) in histogram.bounds.iter().zip(histogram.counts) {
            up_to += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(up_to);
            buckets.push(bucket);
        }
        let mut all = Self::default();
        all.set_bucket(buckets);
        all.set_sample_count(histogram.counts.iter().sum());
        all.set_sample_sum(histogram.sum);
        all
    }
}

fn series(metric: Metric, labels: &[&str]) -> proto::Metric {
    let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
fn float(value: u64) -> f64 {
    value as f64
}
