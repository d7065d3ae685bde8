//! `cargo xtask fuzz`: the fuzz targets of tests/fuzz, built and run by cargo-fuzz (libFuzzer) with a nightly compiler.
//!
//! Each begins from its committed seeds and from what earlier runs kept in target/fuzz/corpus. An input that breaks a target
//! lies in target/fuzz/artifacts afterwards, and what the fuzzer said in target/fuzz/logs.

use crate::assets::Places;
use crate::check::installed;
use crate::process::{loud, succeeds, typed};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// An input that takes longer has hung.
const TIMEOUT_SECONDS: u32 = 20;
/// No input is long: who takes more memory believes a number it was given.
const MEMORY_MAX_MIB: u32 = 512;
/// Words of what a target takes, and the targets that take it.
const WORDS: [(&str, &[&str]); 2] = [("http.dict", &["http"]), ("toml.dict", &["board", "config", "manifest"])];
/// What libFuzzer says last of all, and the name of what is counted here.
const EXECUTED: &str = "stat::number_of_executed_units:";

/// How long each target runs: to the first limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    runs: Option<u64>,
    seconds: Option<u64>,
}

impl Budget {
    /// Ten seconds when nothing is said.
    pub fn of(runs: Option<u64>, seconds: Option<u64>) -> Budget {
        Budget { runs, seconds: seconds.or(runs.is_none().then_some(10)) }
    }

    fn arguments(self) -> impl Iterator<Item = String> {
        self.runs.map(|n| format!("-runs={n}")).into_iter().chain(self.seconds.map(|n| format!("-max_total_time={n}")))
    }
}

/// Runs `targets` (all when empty) for `budget` each; false when one of them broke.
///
/// # Errors
/// Names what is missing and the command that installs it, or the target that does not exist or build.
pub fn run(targets: &[String], budget: Budget) -> Result<bool> {
    let places = Places::find()?;
    ensure_nightly()?;
    let fuzzer = Fuzzer { program: installed(&places, "cargo-fuzz")?, work: places.root.join("target/fuzz"), places };
    let known = names(&fuzzer.places.root.join("tests/fuzz/targets"))?;
    if let Some(unknown) = targets.iter().find(|t| !known.contains(t)) {
        bail!("no fuzz target is called {unknown}: there are {}", known.join(", "));
    }
    let targets = if targets.is_empty() { &known } else { targets };
    let mut build = fuzzer.cargo_fuzz("build");
    build.args(targets.first().filter(|_| targets.len() == 1));
    eprintln!("$ {}", typed(&build, &fuzzer.places.root));
    loud(&mut build)?;
    let (mut executions, mut crashes) = (0, 0);
    for target in targets {
        let started = Instant::now();
        let (executed, broken) = fuzzer.run(target, budget)?;
        println!("{target}: {executed} executions in {:.0} s", started.elapsed().as_secs_f64());
        executions += executed;
        crashes += u32::from(broken);
    }
    println!("fuzz: {executions} executions in {} targets, {crashes} crashes", targets.len());
    Ok(crashes == 0)
}

fn ensure_nightly() -> Result<()> {
    let cure = "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal";
    ensure!(succeeds(&mut nightly("cargo".as_ref(), "--version")), "{cure}");
    Ok(())
}

/// `program` with its first argument, as the nightly toolchain runs it.
fn nightly(program: &Path, first: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program).arg(first);
    // Set by the cargo that runs us, which is another one.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

/// The names of the targets in `folder`, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|s| s.to_str()).filter(|_| path.extension().is_some_and(|e| e == "rs")).map(String::from));
    }
    names.sort();
    Ok(names)
}

struct Fuzzer {
    places: Places,
    program: PathBuf,
    /// Where builds, corpora, artifacts and logs are kept.
    work: PathBuf,
}

impl Fuzzer {
    fn cargo_fuzz(&self, task: &str) -> Command {
        let mut command = nightly(&self.program, task);
        command.arg("--fuzz-dir").arg(self.places.root.join("tests/fuzz"));
        // Comparing costs most where checksums are computed, and finds little where everything is sealed again.
        // Nothing that runs here is unsafe code, for which alone it would be worth being several times slower.
        command.args(["--no-trace-compares", "--sanitizer", "none"]);
        command.arg("--target-dir").arg(self.work.join("build")).current_dir(&self.places.root);
        command
    }

    /// Runs one target; returns its executions and whether one of them broke it.
    fn run(&self, target: &str, budget: Budget) -> Result<(u64, bool)> {
        let folder = |kind: &str| {
            let folder = self.work.join(kind).join(target);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display())).map(|()| folder)
        };
        let (corpus, artifacts, log) = (folder("corpus")?, folder("artifacts")?, folder("logs")?.join("last.txt"));
        let mut command = self.cargo_fuzz("run");
        command.arg(target).arg(corpus).arg(self.places.root.join("tests/fuzz/seeds").join(target)).arg("--");
        command.args(budget.arguments()).arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/", artifacts.display()));
        if let Some((words, _)) = WORDS.iter().find(|(_, targets)| targets.contains(&target)) {
            command.arg(format!("-dict={}", self.places.root.join("tests/fuzz").join(words).display()));
        }
        command.args([format!("-timeout={TIMEOUT_SECONDS}"), format!("-rss_limit_mb={MEMORY_MAX_MIB}")]);
        eprintln!("$ {}", typed(&command, &self.places.root));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let ended = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status().context("cannot start rustup")?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let executed = executions(&said).with_context(|| format!("{target} did not run: see {}", self.places.show(&log)))?;
        if !ended.success() {
            eprintln!("{target} broke:\n{}\nsee {}", last_words(&said), self.places.show(&log));
        }
        Ok((executed, !ended.success()))
    }
}

/// Executions that libFuzzer counted.
fn executions(said: &str) -> Option<u64> {
    said.lines().find_map(|l| l.strip_prefix(EXECUTED))?.trim().parse().ok()
}

/// Of what a broken target said, what a person wants to see: why, and which input.
fn last_words(said: &str) -> String {
    let wanted = ["panicked at", "ERROR:", "SUMMARY:", "Test unit written to"];
    let mut lines = said.lines().peekable();
    let mut words = Vec::new();
    while let Some(line) = lines.next() {
        if wanted.iter().any(|w| line.contains(w)) {
            words.push(line);
            // The message of a panic is on the next line.
            words.extend(lines.peek().filter(|_| line.contains("panicked at")));
        }
    }
    words.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: &str = "INFO: Seed: 1\n#2 INITED cov: 9\n\nthread '<unnamed>' panicked at a.rs:3:5:\nattempt to add with overflow\n\
                          note: run with RUST_BACKTRACE=1\n==7== ERROR: libFuzzer: deadly signal\n    #0 0x1\n\
                          SUMMARY: libFuzzer: deadly signal\nTest unit written to x/crash-1\n\
                          stat::number_of_executed_units: 4711\nstat::peak_rss_mb: 44\n";

    #[test]
    fn executions_and_the_reason_of_a_crash_are_read_from_what_the_fuzzer_said() {
        assert_eq!(executions(BROKEN), Some(4711));
        assert_eq!(executions("error: could not compile"), None);
        let words = last_words(BROKEN);
        assert!(words.contains("attempt to add with overflow") && words.ends_with("Test unit written to x/crash-1"), "{words}");
        assert!(!words.contains("INITED") && !words.contains("RUST_BACKTRACE"), "{words}");
    }

    #[test]
    fn a_run_ends_after_ten_seconds_unless_something_else_was_said() {
        let arguments = |runs, seconds| Budget::of(runs, seconds).arguments().collect::<Vec<_>>();
        assert_eq!(arguments(None, None), ["-max_total_time=10"]);
        assert_eq!(arguments(Some(5), None), ["-runs=5"]);
        assert_eq!(arguments(Some(5), Some(6)), ["-runs=5", "-max_total_time=6"]);
    }

    #[test]
    fn every_target_in_the_repository_has_seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
        let names = names(&folder.join("targets")).unwrap();
        assert!(names.len() > 5, "{names:?}");
        assert!(names.iter().all(|n| folder.join("seeds").join(n).is_dir()), "{names:?}");
    }
}
