//! The fuzz target `config`: tests/src/fuzz/config.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("config").run)(data));
