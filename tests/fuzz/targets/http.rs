//! The fuzz target `http`: tests/src/fuzz/http.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("http").run)(data));
