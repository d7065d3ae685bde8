//! Runs one program on one core with one thread, and watches its memory.
//!
//! Peak memory is the kernel's own high-water mark (VmHWM), read every 5 ms: what a process grows in its very last
//! milliseconds is not seen. It starts anew with each program, so that neither ours nor taskset's memory is counted.

use crate::process::{last_lines, peak_of};
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// Variables that keep the libraries of both sides to one thread.
const ONE_THREAD: [&str; 4] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"];

/// What a program that ended well left.
pub struct Measured {
    /// Its standard output.
    pub said: String,
    pub peak_bytes: u64,
}

/// The last core that this process may use.
pub fn last_core() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("peers are compared on Linux")?;
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).context("/proc/self/status names no cores")?;
    last_number(list).with_context(|| format!("/proc/self/status: expected a list of cores, found {list}"))
}

fn last_number(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// Load averages of the machine over 1, 5 and 15 minutes: what else was running.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<&str> = load.split_whitespace().take(3).collect();
    if three.is_empty() { "unknown".into() } else { three.join(" ") }
}

/// Runs `command` on `core`.
///
/// # Errors
/// When it cannot be started or fails, with the last lines it said.
pub fn pinned(command: &Command, core: usize) -> Result<Measured> {
    let mut pinned = Command::new("taskset");
    pinned.arg("-c").arg(core.to_string()).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        pinned.env(key, value.unwrap_or_default());
    }
    pinned.envs(ONE_THREAD.map(|name| (name, "1"))).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pinned.spawn().context("cannot start taskset (package util-linux)")?;
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_of(child.id()).unwrap_or(0).max(peak_kib);
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |t: thread::JoinHandle<Vec<u8>>| String::from_utf8_lossy(&t.join().unwrap_or_default()).into_owned();
    let (said, complained) = (text(out), text(err));
    if !status.success() {
        bail!("it ended with {status}:\n{}", last_lines(&complained, 3));
    }
    Ok(Measured { said, peak_bytes: peak_kib << 10 })
}

fn collect(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        // What was said until a pipe broke is all there is to report.
        let _ = from.map(|mut f| f.read_to_end(&mut all));
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_core_is_read_from_lists_and_ranges() {
        for (list, core) in [("\t0-1\n", 1), ("0", 0), ("0-3,8,10-11", 11), ("2,5", 5)] {
            assert_eq!(last_number(list), Some(core), "{list}");
        }
        assert_eq!(last_number(""), None);
    }

    #[test]
    fn what_a_program_says_and_its_memory_are_kept_and_a_failure_tells_why() {
        let core = last_core().unwrap();
        let mut good = Command::new("sh");
        let measured = pinned(good.args(["-c", "echo $OMP_NUM_THREADS; sleep 0.05"]), core).unwrap();
        assert_eq!(measured.said, "1\n");
        assert!(measured.peak_bytes > 100 << 10, "{}", measured.peak_bytes);
        let mut bad = Command::new("sh");
        let Err(e) = pinned(bad.args(["-c", "echo no such wheel >&2; exit 3"]), core) else { panic!("it succeeded") };
        assert!(e.to_string().contains("exit status: 3") && e.to_string().contains("no such wheel"), "{e}");
    }
}
