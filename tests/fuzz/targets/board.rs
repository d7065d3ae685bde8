//! The fuzz target `board`: tests/src/fuzz/board.rs says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (wheatear_tests::fuzz::target("board").run)(data));
