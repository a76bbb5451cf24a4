//! PROXY headers.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dataplane/tests/properties/proxy_header.rs"]
mod proxy_header;

fuzz_target!(|data: &[u8]| proxy_header::holds(data));
