//! The fuzz target `root`: tests/src/fuzz/root.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("root").run)(data));
