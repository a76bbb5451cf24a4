//! Pure. The reference pages, made from what the programs themselves hold.

use std::fmt::Write as _;

use serde_json::Value;
use tcpforward_dataplane::connect::refusal::{self, Described};
use tcpforward_dataplane::relay::ending::Ending;
use tcpforward_operator::crd::{self, Kind};
use tcpforward_process::metric::Metric;

pub mod values;

/// One page of docs/reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// From the root of the repository.
    pub path: &'static str,
    /// All of it.
    pub text: String,
}

/// Every page.
#[must_use]
pub fn pages() -> Vec<Page> {
    vec![
        Page {
            path: "docs/reference/access-log.md",
            text: access_log(&tcpforward_dataplane::access_log::FIELDS),
        },
        Page {
            path: "docs/reference/chart-values.md",
            text: values::page(
                GENERATED,
                include_str!("../../charts/tcpforward/values.yaml"),
            ),
        },
        Page {
            path: "docs/reference/connect-answers.md",
            text: connect_answers(refusal::ALL),
        },
        Page {
            path: "docs/reference/endings.md",
            text: endings(&Ending::ALL),
        },
        Page {
            path: "docs/reference/fields.md",
            text: fields(&[
                ("TcpForward", "tcpf", crd::schema(Kind::TcpForward)),
                ("DataPlane", "tcpdp", crd::schema(Kind::DataPlane)),
            ]),
        },
        Page {
            path: "docs/reference/metrics.md",
            text: metrics(&[
                ("Data plane", tcpforward_dataplane::metrics::ALL),
                ("Operator", tcpforward_operator::metrics::ALL),
            ]),
        },
    ]
}

const GENERATED: &str = "<!-- Made by `make generate`; not to be edited. -->";

/// All fields of each kind, by its name, short name and schema, as a table in the order of their paths.
#[must_use]
pub fn fields(kinds: &[(&str, &str, Value)]) -> String {
    let mut text = format!("{GENERATED}\n\n# Fields\n");
    for (name, short, schema) in kinds {
        let _ = write!(
            text,
            "\n## {name}\n\n`tcpforward.dev/v1alpha1`, short name `{short}`. The same text is in `kubectl explain \
             {}`.\n\n| field | type | what |\n|---|---|---|\n",
            name.to_lowercase()
        );
        for part in ["spec", "status"] {
            if let Some(schema) = schema.pointer(&format!("/properties/{part}")) {
                rows(part, schema, &mut text);
            }
        }
    }
    text
}

fn rows(path: &str, schema: &Value, text: &mut String) {
    let description = schema.get("description").and_then(Value::as_str);
    let what = format!("{}{}", description.unwrap_or_default(), rules(schema)).replace('|', "\\|");
    let _ = writeln!(text, "| `{path}` | {} | {what} |", kind(schema));
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        rows(&format!("{path}.{name}"), field, text);
    }
    let items = schema
        .pointer("/items/properties")
        .and_then(Value::as_object);
    for (name, field) in items.into_iter().flatten() {
        rows(&format!("{path}[].{name}"), field, text);
    }
}

fn kind(schema: &Value) -> String {
    let name = match schema.get("type").and_then(Value::as_str) {
        Some("array") => format!(
            "list of {}",
            schema.get("items").map(kind).unwrap_or_default()
        ),
        Some(name) => name.to_owned(),
        None => "integer or string".to_owned(),
    };
    let words = [
        ("minimum", "≥"),
        ("maximum", "≤"),
        ("minItems", "at least"),
        ("maxItems", "at most"),
        ("maxLength", "length ≤"),
    ];
    let bounds = words.into_iter().filter_map(|(key, word)| {
        let bound = schema.get(key)?;
        Some(format!("{word} {bound}"))
    });
    let choices = schema.get("enum").and_then(Value::as_array);
    let choices = choices.into_iter().flatten();
    let choices = choices.filter_map(|choice| Some(format!("`{}`", choice.as_str()?)));
    let parts: Vec<_> = std::iter::once(name).chain(bounds).chain(choices).collect();
    parts.join(", ")
}

fn rules(schema: &Value) -> String {
    let rules = schema.get("x-kubernetes-validations");
    let rules = rules.and_then(Value::as_array).into_iter().flatten();
    let messages = rules.filter_map(|rule| rule.get("message")?.as_str());
    messages.map(|message| format!(" *{message}*")).collect()
}

/// How many series there may be, and what the labels are.
const SERIES: &str = "\
`forward` is namespace/name, `target` the name in the spec, `backend` ip:port; no label comes from a client. \
Series of a forward or backend are there as long as it is: those of a forward until its last session has ended, \
those of a backend while it is in the set. A backend has 13 series on each data plane, a forward about 80, and 2 \
more for each target by DNS name. At most 10,000 backends are in one forward; to leave out what you don't need, drop \
`tcpforward_dataplane_backend_.*` when scraping.\n\n\
Sessions that limits, source ranges or a full queue refused, and those that were closed because of their backend, \
are in `tcpforward_dataplane_sessions_finished_total` by their [ending](endings.md). The same numbers and more, for \
people, are on the page `/debug/forwards` of the admin address.\n";

/// All metrics as tables, one for each program.
#[must_use]
pub fn metrics(programs: &[(&str, &[Metric])]) -> String {
    let mut text = format!(
        "{GENERATED}\n\n# Metrics\n\nServed as `/metrics` on the health address of each program, in \
         Prometheus' text format. All are *unstable* until `v1beta1`.\n\n{SERIES}"
    );
    for (program, metrics) in programs {
        let head = "| metric | type | labels | what |\n|---|---|---|---|";
        let _ = write!(text, "\n## {program}\n\n{head}\n");
        for metric in *metrics {
            let labels: Vec<_> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let (name, kind, help) = (metric.name, metric.kind.word(), metric.help);
            let labels = labels.join(", ");
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
        }
    }
    text
}

/// Every field of a line of the access log.
#[must_use]
pub fn access_log(fields: &[(&str, &str)]) -> String {
    let mut text = format!(
        "{GENERATED}\n\n# Access log\n\nOne line for each finished session, with the log target \
         `access`; `--log access=off` leaves it out. A field that is not known is left out: a session \
         that reached no backend has no `upstream`. A worker that is busy writes its lines together, once it \
         has served all that waited, and at the latest after 3 s: so lines of different threads may come out of \
         order, and a process that is killed loses what its workers still hold.\n\n\
         | field | what |\n|---|---|\n"
    );
    for (field, what) in fields {
        let _ = writeln!(text, "| `{field}` | {what} |");
    }
    text + "\nWhere the time went: the three `…_limited_ms` come from the kernel (`TCP_INFO`). They count \
            while bytes are held or on their way, for each direction by itself, so together they can be \
            more than the duration. What is left of it, nobody had anything to say.\n"
}

/// Every way a session can end.
#[must_use]
pub fn endings(endings: &[Ending]) -> String {
    let mut text = format!(
        "{GENERATED}\n\n# Endings\n\nHow a session ended, in one word: `ending` in the \
         [access log](access-log.md) and in the metric `tcpforward_dataplane_sessions_finished_total`. \
         Other than after `downstream_fin` and `upstream_fin`, whoever is still there is reset: a cut \
         stream never looks like a clean end.\n\n| ending | what |\n|---|---|\n"
    );
    for ending in endings {
        let _ = writeln!(text, "| `{}` | {} |", ending.word(), ending.meaning());
    }
    text
}

/// Every answer of a CONNECT proxy, by status.
#[must_use]
pub fn connect_answers(refusals: &[Described]) -> String {
    let mut text = format!(
        "{GENERATED}\n\n# Answers of a CONNECT proxy\n\n`200` comes once the target is connected, and what \
         follows is the target's. Every other answer is made by the proxy, has the text of this table as \
         its body, and is the last of its connection. Its word stands in the field `Proxy-Status` \
         (RFC 9209) as `error`, in the [access log](access-log.md) as `ending`, and in the metric \
         `tcpforward_dataplane_sessions_finished_total` ([all endings](endings.md)). `407` comes with \
         `Proxy-Authenticate`, `405` with `Allow: CONNECT`, `429` and `503` with `Retry-After`.\n\n\
         | status | word | what happened | what to do |\n|---|---|---|---|\n"
    );
    let mut rows: Vec<_> = refusals.iter().collect();
    rows.sort_by_key(|row| (row.status, row.ending.word()));
    for row in rows {
        let Described {
            status,
            what,
            remedy,
            ..
        } = row;
        let word = row.ending.word();
        let _ = writeln!(text, "| {status} | `{word}` | {what}. | {remedy} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_fields_have_their_path_and_bounds() {
        let port = json!({"type": "integer", "minimum": 1, "description": "a|b"});
        let items = json!({"type": "object", "properties": {"port": port}});
        let list = json!({"type": "array", "maxItems": 3, "items": items});
        let spec = json!({"type": "object", "properties": {"list": list}});
        let schema = json!({"properties": {"spec": spec}});
        let page = fields(&[("One", "o", schema)]);
        let port = "| `spec.list[].port` | integer, ≥ 1 | a\\|b |";
        assert!(page.contains(port), "{page}");
        let list = "| `spec.list` | list of object, at most 3 |";
        assert!(page.contains(list), "{page}");
    }

    #[test]
    fn a_metric_is_a_row() {
        let metric = Metric::counter("x_total", &["a", "b"], "What it counts");
        let page = metrics(&[("One", &[metric])]);
        let row = "## One\n\n| metric | type | labels | what |\n|---|---|---|---|\n\
                   | `x_total` | counter | `a`, `b` | What it counts |\n";
        assert!(page.ends_with(row), "{page}");
    }
}
