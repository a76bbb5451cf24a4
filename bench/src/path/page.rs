//! Pure. What a run over long paths came to, as a page for people.

use crate::load::Way;
use crate::path::results::{Line, Results, TARGET};
use crate::path::route::{self, Route};
use crate::report::{shown, table};

/// The page.
#[must_use]
pub fn page(results: &Results) -> String {
    let sections = [
        "# Results of `make bench-path`\n\nWritten by it; the seconds of each round are in `path.json` beside this. What \
         they mean for a forwarder's place is in [docs/tasks/accelerate.md](../docs/tasks/accelerate.md)."
            .into(),
        conditions(results),
        "## Times\n\nSeconds from the SYN to the last byte (up: to the server's word that it has all), and Mbit/s: the \
         middle of all rounds, in brackets the slowest one."
            .into(),
        times(results),
        format!(
            "## Gains\n\nHow many times as fast as {}. The target is {TARGET} by the better forwarder, from 1 MB up at 1 % loss.",
            Route::Slow.name(&results.plan.controls)
        ),
        gains(results),
    ];
    sections.join("\n\n") + "\n"
}

fn conditions(results: &Results) -> String {
    let (machine, plan, path) = (&results.machine, &results.plan, &results.path);
    let shape = plan.shape;
    let counts = path.counts;
    let mut lines = vec![
        format!(
            "- {}, {} × {}, Linux {}, {}",
            machine.date, machine.cores, machine.processor, machine.kernel, results.version
        ),
        format!(
            "- the path: {} ms there and back ({} measured), {} Mbit/s each way with room for {} KB before the line, tail \
             drop; chance takes packets each way, by the same draws for all of a round",
            shape.delay.as_millis() * 2,
            shown(path.rtt),
            shape.rate / 1_000_000,
            shape.room / 1000
        ),
        format!(
            "- {} paths side by side carried {} packets; {} were lost by chance, {} found no room, 99 % came out no more than \
             {} µs late on any path",
            plan.lanes,
            counts.offered,
            counts.lost,
            counts.dropped,
            shown(path.late)
        ),
        format!(
            "- every transfer is a connection of its own, which knows nothing of those before; client and server send by {} \
             unless said otherwise",
            plan.controls.slow
        ),
        format!(
            "- forwarders run as {}, in the namespace of the client or of the server; `tcp: {}` is on the side that faces \
             the path",
            machine.user,
            route::options(&plan.controls)
        ),
    ];
    lines.extend(results.notes.iter().map(|note| format!("- {note}")));
    lines.join("\n")
}

fn times(results: &Results) -> String {
    let cell = |line: &Line<'_>, route| {
        let (seconds, worst) = (line.seconds(route)?, line.worst(route)?);
        let [seconds, worst, rate] = [seconds, worst, line.rate(route)?].map(shown);
        Some(format!("{seconds} s ({worst}), {rate} Mbit/s"))
    };
    let rows = results.lines().map(|line| {
        let times =
            Route::ALL.map(|route| cell(&line, route).unwrap_or_else(|| NOTHING.to_owned()));
        [what(&line).as_slice(), &times].concat()
    });
    table(&head(results, &Route::ALL, &[]), rows)
}

fn gains(results: &Results) -> String {
    let [_, others @ ..] = Route::ALL;
    let rows = results.lines().map(|line| {
        let gains = others.map(|route| line.gain(route).map_or_else(|| NOTHING.into(), shown));
        let verdict = match line.reached() {
            None => "",
            Some(gain) if gain >= TARGET => "met",
            Some(_) => "**missed**",
        };
        [what(&line).as_slice(), &gains, &[verdict.to_owned()]].concat()
    });
    table(&head(results, &others, &["target"]), rows)
}

const NOTHING: &str = "–";

fn head(results: &Results, routes: &[Route], more: &[&str]) -> Vec<String> {
    let before = ["loss", "way", "size"].map(str::to_owned);
    let routes = routes
        .iter()
        .map(|route| route.name(&results.plan.controls));
    let more = more.iter().map(|&word| word.to_owned());
    before.into_iter().chain(routes).chain(more).collect()
}

fn what(line: &Line<'_>) -> [String; 3] {
    let way = match line.cell.way {
        Way::Down => "down",
        Way::Up => "up",
    };
    [
        format!("{} %", line.cell.loss),
        way.to_owned(),
        size(line.cell.bytes),
    ]
}

fn size(bytes: u64) -> String {
    match bytes {
        1_000_000.. => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} KB", bytes / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::plan::Plan;
    use crate::results::Machine;

    #[test]
    fn a_page_has_every_line_of_the_plan_and_says_what_was_not_measured() {
        let mut results = Results::new(Machine::default(), "tcpforward 1".into(), Plan::quick());
        results.note(0, Route::Slow, 4.0);
        results.note(0, Route::AtServer, 0.5);
        let page = page(&results);
        let times = "| 1 % | down | 1 MB | 4.00 s (4.00), 2.00 Mbit/s | – | – | 0.50 s (0.50), 16.0 Mbit/s |\n";
        assert!(page.contains(times), "{page}");
        let gains = "| 1 % | down | 1 MB | – | – | 8.00 | met |\n";
        assert!(page.contains(gains), "{page}");
        assert!(
            page.contains("| 1 % | up | 1 MB | – | – | – |  |\n"),
            "{page}"
        );
    }

    #[test]
    fn results_survive_their_file() {
        let mut results = Results::new(Machine::default(), String::new(), Plan::full());
        results.note(3, Route::Fast, 1.25);
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
