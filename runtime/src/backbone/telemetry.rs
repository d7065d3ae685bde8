//! ONNX Runtime tells its maker over the network what it runs: from 1.29 on the packages for Linux do, as they come, and keep what could not
//! be sent with a number of the device under `~/.cache/Microsoft`. What its API offers against it comes too late: the first event was told by
//! then. A variable of the environment stops all of it, where it is set before the library is loaded.
//!
//! No library is loaded without it. Programs call [`off_in_program`] first of all; who uses this crate calls [`off`] while there is one thread,
//! which Linux tells, or sets the variable.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::{Error, ErrorKind, Result};

/// The variable, which must be `1`.
pub const OFF_VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Whether ONNX Runtime, once loaded, keeps to itself.
pub fn is_off() -> bool {
    std::env::var_os(OFF_VARIABLE).is_some_and(|value| value == "1")
}

/// Sees to it that ONNX Runtime keeps to itself in this process.
///
/// # Errors
/// `Config` where the variable is not set and the process has several threads, one of which may be reading its environment: call this before
/// there are others.
pub fn off() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count).ok();
    if threads != Some(1) {
        return Err(Error::new(ErrorKind::Config, "ONNX Runtime would tell its maker over the network what it runs")
            .expected(format!("{OFF_VARIABLE}=1 in the environment, or one thread that may set it"))
            .found(threads.map_or("an unknown number of threads".to_owned(), |n| format!("{n} threads")))
            .cure(
                "set it before the program starts, or, on Linux, call wheatear::backbone::telemetry::off before there are other threads",
            ));
    }
    // SAFETY: there is one thread, this one, so that no other reads or writes the environment meanwhile.
    unsafe { std::env::set_var(OFF_VARIABLE, "1") };
    Ok(())
}

/// As [`off`], in a program that has just begun: where that cannot be, the program begins anew with the variable set, under the same number. Where
/// it cannot do so either, loading a backbone says why.
pub fn off_in_program() {
    if off().is_ok() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut arguments = std::env::args_os();
        let mut again = Command::new(program);
        again.arg0(arguments.next().unwrap_or_default()).args(arguments).env(OFF_VARIABLE, "1");
        let failed = again.exec();
        log::warn!("cannot begin again with {OFF_VARIABLE}=1: {failed}");
    }
}
