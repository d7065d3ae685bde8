//! Runs other programs: their command line shown, their errors kept, their peak memory watched.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a run that ended well took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub elapsed: Duration,
    /// Largest resident size seen of the program itself, in KiB; 0 where the system does not say.
    pub peak_kib: u64,
}

/// Standard input of the programs that [`quiet`] runs: the lock on the assets, once it is held.
///
/// A program outlives us when we are killed, and may go on writing. It then still holds the lock through its input (an
/// empty file), so that the next run waits for its end instead of working in the same folders.
static LOCK: OnceLock<File> = OnceLock::new();

/// Lets every program run from now on by [`quiet`] share `lock`.
pub fn share_lock(lock: File) {
    // Set-up runs once a process; a second lock on the same file would be held just as long.
    let _ = LOCK.set(lock);
}

/// Largest resident size of any program that [`quiet`] ran, in KiB.
static QUIET_PEAK_KIB: AtomicU64 = AtomicU64::new(0);

/// Peak resident size so far of this process and of any one program it ran by [`quiet`], in KiB.
pub fn peak_so_far_kib() -> u64 {
    QUIET_PEAK_KIB.load(Ordering::Relaxed).max(peak_of(std::process::id()).unwrap_or(0))
}

/// Runs `command` with empty input and keeps its output for the error; `tick` is called about ten times a second.
pub fn quiet(command: &mut Command, mut tick: impl FnMut()) -> Result<()> {
    let line = line(command);
    let input = LOCK.get().map(File::try_clone).transpose()?;
    let (mut reader, writer) = io::pipe().context("no pipe to be had")?;
    command.stdin(input.map_or_else(Stdio::null, Stdio::from)).stdout(writer.try_clone()?).stderr(writer);
    let mut child = spawn(command, &line)?;
    // The writing ends that `command` keeps would hold the pipe open.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        reader.read_to_end(&mut said).map(|_| said)
    });
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None => {
                QUIET_PEAK_KIB.fetch_max(peak_of(child.id()).unwrap_or(0), Ordering::Relaxed);
                tick();
                thread::sleep(Duration::from_millis(100));
            }
        }
    };
    if !status.success() {
        let said = said.join().ok().and_then(Result::ok).unwrap_or_default();
        bail!("`{line}` ended with {status}:\n{}", last_lines(&String::from_utf8_lossy(&said), 12));
    }
    Ok(())
}

/// What `command` writes to its standard output.
pub fn said(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}:\n{}", output.status, last_lines(&String::from_utf8_lossy(&output.stderr), 12));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `n` lines of `text` that say something.
pub fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

/// Runs `command` in the foreground, its output where ours goes.
pub fn loud(command: &mut Command) -> Result<Cost> {
    let line = line(command);
    let started = Instant::now();
    let mut child = spawn(command.stdin(Stdio::null()), &line)?;
    let (mut peak_kib, mut pause) = (0, Duration::from_millis(2));
    let status = loop {
        peak_kib = peak_kib.max(peak_of(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(Cost { elapsed: started.elapsed(), peak_kib })
}

fn spawn(command: &mut Command, line: &str) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{line}`: is {} installed?", command.get_program().to_string_lossy()))
}

/// Whether `command` starts and succeeds; its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Peak resident size of process `id` in KiB.
pub fn peak_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The command line as one would type it in `root`.
pub fn typed(command: &Command, root: &Path) -> String {
    let prefix = format!("{}/", root.display());
    line(command).replace(&prefix, "")
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| quoted(&w.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// `word` as a shell needs it.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./,:=+@%~".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_one_would_type_it_in_the_root() {
        let mut command = Command::new("/here/target/release/wheatear");
        command.args(["teach", "/here/target/demo/teach", "a b", "it's"]);
        assert_eq!(typed(&command, Path::new("/here")), r"target/release/wheatear teach target/demo/teach 'a b' 'it'\''s'");
    }

    #[test]
    fn a_failed_program_is_reported_with_what_it_said() {
        let e = quiet(Command::new("sh").args(["-c", "echo no such package >&2; exit 3"]), || ()).unwrap_err();
        assert!(e.to_string().contains("no such package") && e.to_string().contains("exit status: 3"), "{e}");
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let e = quiet(&mut Command::new("no-such-program-here"), || ()).unwrap_err();
        assert!(e.to_string().contains("is no-such-program-here installed?"), "{e}");
    }

    #[test]
    fn peak_memory_of_a_running_process_is_read() {
        assert!(peak_of(std::process::id()).unwrap() > 100);
    }
}
