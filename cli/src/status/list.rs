//! Pure. Forwards in a table, with the reason below each that is not ready.

use std::fmt::Write as _;

use tcpforward_operator::glance::Which;

use super::table::{Table, WIDEST};
use super::view::{Ready, Truth, View};
use crate::terminal::{plain, shorten, wrap};

const HEAD: [&str; COLUMNS] = ["NAME", "PORT", "BACKENDS", "PODS", "READY"];

const COLUMNS: usize = 5;

/// Of a text that explains: more of it is in the detail.
pub(super) const MESSAGE: usize = 512;

pub(super) fn text(views: &[View], which: &Which) -> String {
    let rows: Vec<_> = views.iter().map(|view| row(view, which)).collect();
    let table = Table::new(HEAD, &rows);
    let mut text = table.line(&HEAD);
    for (view, row) in views.iter().zip(&rows) {
        text += &table.line(row);
        why_not(&mut text, &view.ready);
    }
    let ready = views.iter().filter(|view| view.ready.is == Truth::True);
    let _ = writeln!(text, "{} of {} ready", ready.count(), views.len());
    text
}

/// The reason below what is not ready.
pub(super) fn why_not(text: &mut String, ready: &Ready) {
    if ready.is != Truth::True {
        let why = format!("{}: {}", ready.reason, ready.message);
        wrap(text, "  ", "  ", &shorten(&why, MESSAGE));
    }
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
