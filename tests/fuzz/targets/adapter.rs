//! The fuzz target `adapter`: tests/src/fuzz/adapter.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("adapter").run)(data));
