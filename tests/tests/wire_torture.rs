//! Short forms of the rows of `make torture`, ours alone, copied and by pipes: each figure is what it
//! has to be. Rows run in a `Network::Namespace` each, so they need root.

use anyhow::{Result, ensure};
use tcpforward_tests::lab;
use tcpforward_tests::torture::{self, Scale, Side, measure};

fn holds(number: &str) -> Result<()> {
    lab::raise_descriptors()?;
    let row = torture::row(number)?;
    for &way in row.ways.all() {
        let figures = measure(row, Side::Ours, way, Scale::Short)?;
        ensure!(!figures.is_empty(), "nothing was measured");
        for figure in figures {
            let (name, shown, wanted) = (figure.name, figure.shown(), figure.wanted());
            ensure!(figure.meets(), "{way:?}: {name}: {shown}, must be {wanted}");
        }
    }
    Ok(())
}

#[test]
fn without_descriptors_clients_wait_and_nothing_spins() -> Result<()> {
    holds("R1")
}

#[test]
fn a_limit_that_descriptors_cannot_carry_is_told_at_the_start() -> Result<()> {
    holds("R2")
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
fn a_server_taken_out_keeps_its_sessions_until_the_drain_ends() -> Result<()> {
    holds("R7")
}

#[test]
fn everybody_who_comes_back_at_once_is_served() -> Result<()> {
    holds("R8")
}

#[test]
fn checks_are_spread_and_a_standstill_ejects_nobody() -> Result<()> {
    holds("R9")
}

#[test]
fn without_a_healthy_server_the_policy_holds() -> Result<()> {
    holds("R10")
}

#[test]
fn a_server_that_swallows_packets_costs_no_session() -> Result<()> {
    holds("R11")
}

#[test]
fn a_hedged_dial_waits_for_no_dead_server() -> Result<()> {
    holds("R11h")
}

#[test]
fn a_killed_server_costs_no_session_opened_after_it() -> Result<()> {
    holds("K9")
}

#[test]
fn readers_that_stall_cost_no_memory() -> Result<()> {
    holds("R12")
}

#[test]
fn a_burst_finds_room_in_the_accept_queue() -> Result<()> {
    holds("R13")
}

#[test]
fn too_few_ports_are_no_fault_of_a_server() -> Result<()> {
    holds("R14")
}

#[test]
fn ports_rest_only_where_the_relay_closed_first() -> Result<()> {
    holds("R15")
}

#[test]
fn small_buffers_lose_nothing() -> Result<()> {
    holds("R23")
}

#[test]
fn a_session_may_turn_from_much_to_little_and_break_anywhere() -> Result<()> {
    holds("R24")
}

#[test]
fn an_urgent_byte_stops_nothing() -> Result<()> {
    holds("R25")
}

#[test]
fn a_live_client_that_does_not_read_is_kept() -> Result<()> {
    holds("R26")
}

#[test]
fn a_drain_lets_sessions_end_and_resets_the_rest() -> Result<()> {
    holds("R28")
}

#[test]
fn wedged_sessions_cost_no_processor_time() -> Result<()> {
    holds("R29")
}

#[test]
fn a_flood_in_little_memory_is_survived() -> Result<()> {
    holds("R31")
}

#[test]
fn a_direction_of_a_tunnel_that_ended_leaves_the_other_one_alone() -> Result<()> {
    holds("R3t")
}

#[test]
fn every_ending_of_a_tunnel_is_reproduced_after_the_bytes() -> Result<()> {
    holds("R5t")
}

#[test]
fn tunnels_to_a_backend_that_its_service_loses_are_reset() -> Result<()> {
    holds("R7t")
}

#[test]
fn silent_dns_does_no_harm_to_a_relay() -> Result<()> {
    holds("R32")
}

#[test]
fn heads_that_mean_no_good_reach_nobody() -> Result<()> {
    holds("R33")
}
