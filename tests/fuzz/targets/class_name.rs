//! The fuzz target `class_name`: tests/src/fuzz/class_name.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("class_name").run)(data));
