//! Short forms of the rows of `make torture`, ours alone: each figure is what it has to be. Rows run
//! in a `Network::Namespace` each, so they need root.

use anyhow::{Result, ensure};
use tcpforward_tests::lab;
use tcpforward_tests::torture::{self, Scale, Side, measure};

fn holds(number: &str) -> Result<()> {
    lab::raise_descriptors()?;
    let figures = measure(torture::row(number)?, Side::Ours, Scale::Short)?;
    ensure!(!figures.is_empty(), "nothing was measured");
    for figure in figures {
        let (name, shown, wanted) = (figure.name, figure.shown(), figure.wanted());
        ensure!(figure.meets(), "{name}: {shown}, must be {wanted}");
    }
    Ok(())
}

#[test]
fn a_direction_that_ended_leaves_the_other_one_alone() -> Result<()> {
    holds("R3")
}

#[test]
fn half_closed_sessions_of_vanished_peers_are_reclaimed() -> Result<()> {
    holds("R4")
}

#[test]
fn every_ending_is_reproduced_after_the_bytes() -> Result<()> {
    holds("R5")
}

#[test]
fn silence_ends_a_session_only_where_it_was_asked_for() -> Result<()> {
    holds("R6")
}

#[test]
fn an_urgent_byte_stops_nothing() -> Result<()> {
    holds("R25")
}
