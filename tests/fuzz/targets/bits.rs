//! The fuzz target `bits`: tests/src/fuzz/bits.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("bits").run)(data));
