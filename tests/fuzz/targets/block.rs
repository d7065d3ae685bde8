//! The fuzz target `block`: tests/src/fuzz/block.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("block").run)(data));
