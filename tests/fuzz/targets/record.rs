//! The fuzz target `record`: tests/src/fuzz/record.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("record").run)(data));
