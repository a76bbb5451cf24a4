//! Answers of parent proxies.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dataplane/tests/properties/parent_answer.rs"]
mod parent_answer;

fuzz_target!(|data: &[u8]| parent_answer::holds(data));
