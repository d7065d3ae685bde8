//! The fuzz target `manifest`: tests/src/fuzz/manifest.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("manifest").run)(data));
