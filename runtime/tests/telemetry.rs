//! ONNX Runtime is not loaded where it would tell its maker what it runs.

use std::process::Command;

use wheatear::ErrorKind;
use wheatear::backbone::telemetry::{OFF_VARIABLE, is_off, off, off_in_program};

/// Set for the process that has not turned it off.
const CHILD: &str = "WHEATEAR_TEST_TELEMETRY";

#[test]
fn a_process_of_several_threads_that_has_not_turned_it_off_is_told_what_to_do() {
    if std::env::var_os(CHILD).is_none() {
        let name = "a_process_of_several_threads_that_has_not_turned_it_off_is_told_what_to_do";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env_remove(OFF_VARIABLE).env(CHILD, "1");
        assert!(child.status().unwrap().success());
        child.env(OFF_VARIABLE, "0");
        assert!(child.status().unwrap().success());
        return;
    }
    let error = std::thread::spawn(off).join().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains(OFF_VARIABLE) && !is_off(), "{error}");
}

#[test]
fn a_program_that_cannot_turn_it_off_begins_anew_with_what_it_was_given() {
    if std::env::var_os(CHILD).is_none() {
        let name = "a_program_that_cannot_turn_it_off_begins_anew_with_what_it_was_given";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let ended = child.args(["--exact", name]).env_remove(OFF_VARIABLE).env(CHILD, "1").output().unwrap();
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    if !is_off() {
        std::thread::spawn(off_in_program).join().unwrap();
        panic!("it goes on as it was");
    }
}
