//! The fuzz target `header`: tests/src/fuzz/header.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("header").run)(data));
