//! The fuzz target `frame`: tests/src/fuzz/frame.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("frame").run)(data));
