//! Pure. Results as a page for people.

use crate::figure::Figure;
use crate::peer::Peer;
use crate::results::Results;
use crate::targets::{TARGETS, Target};

/// The page.
#[must_use]
pub fn page(results: &Results) -> String {
    let sections = [
        "# Results of `make bench`\n\nWritten by it; the numbers of each round are in `results.json` beside this.".into(),
        conditions(results),
        "## Targets\n\nA ratio is ours divided by the other's, in the same run: the middle of all rounds, and the best \
         and the worst of them."
            .into(),
        targets(results),
        "## Figures\n\nThe middle of all rounds. CPU is the relay's own user and system time.".into(),
        figures(results),
        versions(results),
    ];
    sections.join("\n\n") + "\n"
}

fn conditions(results: &Results) -> String {
    let (machine, scale) = (&results.machine, &results.scale);
    let mitigations = machine.mitigations.iter();
    let mitigations: Vec<_> = mitigations.map(|(k, v)| format!("{k}: {v}")).collect();
    let lines = [
        format!("- {}", machine.date),
        format!(
            "- {} × {}, Linux {}, clock {}, congestion control {}",
            machine.cores,
            machine.processor,
            machine.kernel,
            machine.clock,
            machine.congestion_control
        ),
        format!("- mitigations: {}", or_none(&mitigations.join("; "))),
        format!(
            "- one core for the relay, another one for load and servers, loopback; relays run as {} and log every session",
            machine.user
        ),
        format!(
            "- {} rounds, {} s a load, {} idle connections ({}: {}), ours watched for {} s",
            scale.rounds,
            scale.seconds,
            scale.idle,
            Peer::Go.name(),
            Peer::Go.most_idle().min(scale.idle),
            scale.watch_seconds
        ),
    ];
    lines.join("\n")
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn targets(results: &Results) -> String {
    let head = ["figure", "of", "beside", "at most", "reached", "rounds", ""];
    let lines = TARGETS.iter().map(|target| line(results, target));
    table(&head.map(str::to_owned), lines)
}

fn line(results: &Results, target: &Target) -> Vec<String> {
    let (reached, rounds, verdict) = match target.reached(results) {
        None => ("–".into(), String::new(), "not measured"),
        Some(reached) => {
            let (least, most) = reached.spread;
            let verdict = if reached.is_met { "met" } else { "**missed**" };
            let rounds = format!("{} – {}", shown(least), shown(most));
            (shown(reached.value), rounds, verdict)
        }
    };
    vec![
        target.figure.title().into(),
        target.of.name().into(),
        target.reference(),
        shown(target.most),
        reached,
        rounds,
        verdict.into(),
    ]
}

fn figures(results: &Results) -> String {
    let peers: Vec<Peer> = results.samples.keys().copied().collect();
    let names = peers.iter().map(|peer| peer.name().to_owned());
    let head: Vec<String> = std::iter::once("figure".to_owned()).chain(names).collect();
    let measured = |figure: &Figure| {
        peers
            .iter()
            .any(|peer| results.value(*peer, *figure).is_some())
    };
    let lines = Figure::ALL.into_iter().filter(measured).map(|figure| {
        let values = peers.iter().map(|peer| results.value(*peer, figure));
        let values = values.map(|value| value.map_or_else(|| "–".to_owned(), shown));
        std::iter::once(figure.title().to_owned())
            .chain(values)
            .collect()
    });
    table(&head, lines)
}

fn versions(results: &Results) -> String {
    let lines = results.versions.iter();
    let lines = lines.map(|(peer, version)| format!("- {}: {version}", peer.name()));
    format!("## Versions\n\n{}", lines.collect::<Vec<_>>().join("\n"))
}

pub(crate) fn table(head: &[String], lines: impl Iterator<Item = Vec<String>>) -> String {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let mut rows = vec![row(head), row(&rule)];
    rows.extend(lines.map(|cells| row(&cells)));
    rows.join("\n")
}

/// Three digits that count.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_was_met_and_what_was_not_measured() {
        let mut results = Results::default();
        results.note(Peer::Ours, Figure::IdleMemory, 1234.0);
        results.note(Peer::Ours, Figure::UpCpu, 600.0);
        results.note(Peer::HaproxySplice, Figure::UpCpu, 1000.0);
        let page = page(&results);
        let line = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(line("| idle connection, bytes").ends_with("| 1500 | 1234 | 1234 – 1234 | met |"));
        let missed = line("| stream up, CPU");
        assert!(
            missed.contains("| 0.60 |") && missed.ends_with("**missed** |"),
            "{missed}"
        );
        assert!(line("| stream down, CPU").ends_with("not measured |"));
        assert!(page.contains("| figure | tcpforward | HAProxy splice |"));
    }

    #[test]
    fn results_survive_their_file() {
        let mut results = Results::default();
        results.note(Peer::OursMany, Figure::ExchangeCpu, 99.5);
        let text = serde_json::to_string(&results).unwrap();
        assert!(
            text.contains("\"ours-many\":{\"exchange-cpu\":[99.5]}"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
