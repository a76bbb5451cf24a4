//! Answers to checks.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dataplane/tests/properties/expect.rs"]
mod expect;

fuzz_target!(|data: &[u8]| expect::holds(data));
