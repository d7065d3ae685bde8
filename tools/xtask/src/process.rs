//! Runs other programs: their command line shown, their errors kept, their peak memory watched.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run that ended well took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub elapsed: Duration,
    /// Largest resident size seen of the program itself, in KiB; 0 where the system does not say.
    pub peak_kib: u64,
}

/// Runs `command` without input and keeps its output for the error; `tick` is called about ten times a second.
pub fn quiet(command: &mut Command, mut tick: impl FnMut()) -> Result<()> {
    let line = line(command);
    let mut log = tempfile();
    command.stdin(Stdio::null());
    match &mut log {
        Some((file, _)) => command.stdout(file.try_clone()?).stderr(file.try_clone()?),
        None => command.stdout(Stdio::null()).stderr(Stdio::null()),
    };
    let mut child = spawn(command, &line)?;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None => {
                tick();
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    let said = log.map(|(_, path)| {
        let text = fs::read(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        last_lines(&String::from_utf8_lossy(&text), 12)
    });
    if !status.success() {
        bail!("`{line}` ended with {status}:\n{}", said.unwrap_or_default());
    }
    Ok(())
}

fn tempfile() -> Option<(fs::File, std::path::PathBuf)> {
    let path = std::env::temp_dir().join(format!("xtask-{}-{:?}.log", std::process::id(), std::thread::current().id()));
    fs::File::create(&path).ok().map(|file| (file, path))
}

fn last_lines(text: &str, n: usize) -> String {
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
        std::thread::sleep(pause);
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

fn quoted(word: &str) -> String {
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
