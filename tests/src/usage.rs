//! What a process takes, as Linux tells in /proc: resident memory, and the processor's time of each of its threads. Time is told in
//! hundredths of a second; that of threads which have ended is in the whole alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wheatear::{Error, ErrorKind, Result};

/// The unit of times in /proc, of any Linux that one finds.
const TICKS_PER_S: f64 = 100.0;

/// What a process takes at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Usage {
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Of that, memory of no file.
    pub anonymous_kib: u64,
    /// The most that it ever was.
    pub peak_kib: u64,
    /// Processor time since its start, in s.
    pub cpu_s: f64,
    /// Of that, each thread's that runs, summed over those of one name.
    pub threads: BTreeMap<String, f64>,
}

impl Usage {
    /// Of the process `id`.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it has gone, or where there is no /proc.
    pub fn of(id: u32) -> Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{id}"));
        let status = read(&folder.join("status"))?;
        let kib = |key: &str| {
            let value = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
            value.and_then(|v| v.trim().strip_suffix(" kB")?.parse().ok()).ok_or_else(|| unreadable(&folder, key))
        };
        let (_, cpu_s) = time(&folder)?;
        let mut threads = BTreeMap::new();
        let tasks = folder.join("task");
        for task in fs::read_dir(&tasks).map_err(|e| Error::io("read", &tasks, e))?.flatten() {
            // One may have ended since.
            if let Ok((name, cpu_s)) = time(&task.path()) {
                *threads.entry(name).or_default() += cpu_s;
            }
        }
        Ok(Usage { rss_kib: kib("VmRSS")?, anonymous_kib: kib("RssAnon")?, peak_kib: kib("VmHWM")?, cpu_s, threads })
    }
}

/// Name and processor time of what `folder` is of (proc_pid_stat(5)).
fn time(folder: &Path) -> Result<(String, f64)> {
    let stat = read(&folder.join("stat"))?;
    let wrong = || unreadable(folder, "stat");
    // The name may have anything in it, brackets too.
    let (before, after) = stat.rsplit_once(") ").ok_or_else(wrong)?;
    let name = before.split_once('(').ok_or_else(wrong)?.1.to_owned();
    // Fields 14 and 15, of which the third comes first here.
    let ticks = after.split(' ').skip(11).take(2).map(|t| t.parse::<f64>().map_err(|_| wrong())).sum::<Result<f64>>()?;
    Ok((name, ticks / TICKS_PER_S))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::io("read", path, e))
}

fn unreadable(folder: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Input, "the system does not tell what a process takes").at(folder.display()).expected(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_a_thread_are_seen_under_its_name() {
        let before = Usage::of(std::process::id()).unwrap();
        let work = || {
            let taken = vec![1u8; 8 << 20];
            let begun = Usage::of(std::process::id()).unwrap();
            let mut usage = begun.clone();
            // Until a few units of time have been used.
            while usage.threads["a worker"] < begun.threads["a worker"] + 0.05 {
                std::hint::black_box(taken.iter().map(|x| u64::from(*x)).sum::<u64>());
                usage = Usage::of(std::process::id()).unwrap();
            }
            usage
        };
        let usage = std::thread::Builder::new().name("a worker".into()).spawn(work).unwrap().join().unwrap();
        assert!(usage.cpu_s >= before.cpu_s + 0.05, "{usage:?}");
        assert!(usage.rss_kib >= before.rss_kib + (7 << 10) && usage.peak_kib >= usage.rss_kib, "{before:?} {usage:?}");
        assert!(usage.anonymous_kib < usage.rss_kib && usage.anonymous_kib > 8 << 10, "{usage:?}");
    }
}
