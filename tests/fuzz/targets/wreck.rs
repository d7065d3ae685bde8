//! The fuzz target `wreck`: tests/src/fuzz/wreck.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("wreck").run)(data));
