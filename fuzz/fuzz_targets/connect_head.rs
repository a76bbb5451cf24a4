//! Heads of CONNECT requests.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dataplane/tests/properties/connect_head.rs"]
mod connect_head;

fuzz_target!(|data: &[u8]| connect_head::holds(data));
