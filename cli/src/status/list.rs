//! Pure. Forwards in a table, with the reason below each that is not ready.

use std::fmt::Write as _;

use tcpforward_operator::glance::Which;

use super::view::{Truth, View};
use crate::terminal::{WIDTH, plain, shorten, wrap};

const HEAD: [&str; COLUMNS] = ["NAME", "PORT", "BACKENDS", "PODS", "READY"];

const COLUMNS: usize = 5;

/// Between two columns.
const GAP: usize = 2;

/// Of any column but the name, which gets what they leave.
const WIDEST: usize = 12;

/// Of a text that explains: more of it is in the detail.
const MESSAGE: usize = 512;

pub(super) fn text(views: &[View], which: &Which) -> String {
    let rows: Vec<_> = views.iter().map(|view| row(view, which)).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [name, others @ ..] = &mut widths;
    let taken: usize = others.iter().map(|width| width + GAP).sum();
    *name = (*name).min(WIDTH.saturating_sub(taken));
    let mut text = line(&HEAD.map(ToOwned::to_owned), &widths);
    for (view, row) in views.iter().zip(&rows) {
        text += &line(row, &widths);
        if view.ready.is != Truth::True {
            let why = format!("{}: {}", view.ready.reason, view.ready.message);
            wrap(&mut text, "  ", "  ", &shorten(&why, MESSAGE));
        }
    }
    let ready = views.iter().filter(|view| view.ready.is == Truth::True);
    let _ = writeln!(text, "{} of {} ready", ready.count(), views.len());
    text
}

fn row(view: &View, which: &Which) -> [String; COLUMNS] {
    let name = match which {
        Which::All => view.name.to_string(),
        Which::Namespace(_) | Which::One(_) => view.name.name().to_owned(),
    };
    let backends = view.status.backends.as_ref();
    let backends = backends.map(|backends| format!("{}/{}", backends.healthy, backends.total));
    let pods = view.status.data_planes.as_ref();
    let pods = pods.map(|pods| format!("{}/{}", pods.programmed, pods.ready));
    let unknown = || "-".to_owned();
    let others = [
        view.ports(),
        backends.unwrap_or_else(unknown),
        pods.unwrap_or_else(unknown),
        view.ready.is.word().to_owned(),
    ];
    let [port, backends, pods, ready] = others.map(|cell| shorten(&cell, WIDEST));
    [plain(&name).into_owned(), port, backends, pods, ready]
}

fn line(row: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let cell = shorten(cell, *width);
        let _ = write!(line, "{cell:width$}{:GAP$}", "");
    }
    format!("{}\n", line.trim_end())
}
