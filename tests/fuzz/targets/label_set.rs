//! The fuzz target `label_set`: tests/src/fuzz/label_set.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("label_set").run)(data));
