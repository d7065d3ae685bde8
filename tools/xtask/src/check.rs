//! `cargo xtask test | prove | crash | ci | deny`: the checks, run with the assets they need.

use crate::assets::{Pins, Places};
use crate::note;
use crate::process::{loud, quiet, succeeds, typed};
use crate::setup::{self, Goal};
use crate::step::Steps;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the set-up put ONNX Runtime, unless `ORT_DYLIB_PATH` names another.
pub fn onnxruntime(places: &Places) -> Result<PathBuf> {
    match std::env::var_os("ORT_DYLIB_PATH") {
        Some(path) => Ok(path.into()),
        None => Ok(places.onnxruntime(&Pins::load()?.package("onnxruntime")?.version)),
    }
}

fn cargo(places: &Places, args: &[&str]) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.args(args).current_dir(&places.root).env("WHEATEAR_ASSETS", &places.assets).env("ORT_DYLIB_PATH", onnxruntime(places)?);
    Ok(cargo)
}

fn step(mut command: Command, places: &Places) -> Result<()> {
    eprintln!("$ {}", typed(&command, &places.root));
    loud(&mut command).map(|_| ())
}

/// Sets up, then runs the tests: doc-tests first, so that the last line is the summary of all others.
///
/// With `args` only those tests run, as the runner (nextest where it is installed, else cargo test) understands them.
/// Returns whether all passed; nothing is printed after the runner's own summary.
pub fn test(args: &[String], offline: bool) -> Result<bool> {
    let places = setup::run(Goal::Test, offline)?;
    let nextest = succeeds(&mut cargo(&places, &["nextest", "--version"])?);
    let docs = args.is_empty().then(|| step(cargo(&places, &["test", "--workspace", "--doc"])?, &places));
    if let Some(Err(e)) = &docs {
        eprintln!("error: {e:#}; the other tests run all the same");
    }
    let mut tests = cargo(&places, if nextest { &["nextest", "run", "--no-fail-fast"] } else { &["test", "--no-fail-fast"] })?;
    if !args.iter().any(|a| a.starts_with("-p") || a.starts_with("--package")) {
        tests.arg("--workspace");
    }
    if args.is_empty() && !nextest {
        tests.args(["--lib", "--bins", "--tests"]);
    }
    eprintln!("$ {}", typed(tests.args(args), &places.root));
    let passed = tests.stdin(Stdio::null()).status().context("cannot start cargo")?.success();
    Ok(passed && !matches!(docs, Some(Err(_))))
}

/// The test of the page, in a browser that the set-up installs. Returns whether it passed.
pub fn page(offline: bool) -> Result<bool> {
    let places = setup::run(Goal::Page, offline)?;
    // One at a time: each has a browser and a sound server of its own.
    let mut tests = cargo(&places, &["test", "--workspace", "--test", "page", "--", "--ignored", "--test-threads=1"])?;
    eprintln!("$ {}", typed(&tests, &places.root));
    let passed = tests.stdin(Stdio::null()).status().context("cannot start cargo")?.success();
    println!("pictures: {}", places.show(&places.root.join("target/page")));
    Ok(passed)
}

/// The long proofs: every crash, the whole 12-run lab from audio on every set, and the properties with many more cases.
pub fn prove(cases: u32, offline: bool) -> Result<()> {
    let places = setup::run(Goal::All, offline)?;
    note("Properties, many cases");
    let mut properties = cargo(&places, &["test", "--release", "--workspace", "--lib", "--tests"])?;
    properties.env("PROPTEST_CASES", cases.to_string());
    step(properties, &places)?;
    step(cargo(&places, &["build", "--release", "-p", "wheatear-tools"])?, &places)?;
    note("A power cut at every moment");
    ensure!(crash()?, "an adapter was lost");
    let out = places.root.join("target/prove");
    std::fs::create_dir_all(&out)?;
    for set in ["instruments", "sonicpi"] {
        note(&format!("Class-incremental learning from audio: {set}, 12 runs"));
        let mut lab = Command::new(places.root.join("target/release/wheatear"));
        lab.args(["lab", "run", "--audio"]).arg(places.assets.join("sounds").join(set));
        lab.arg("--backbone").arg(places.assets.join("models/aisfx"));
        lab.args(["--head", "naive,ncm,slda,ridge", "--report"]).arg(out.join(format!("{set}.html")));
        lab.current_dir(&places.root).env("WHEATEAR_ASSETS", &places.assets).env("ORT_DYLIB_PATH", onnxruntime(&places)?);
        step(lab, &places)?;
    }
    println!("\nreports: {}", places.show(&out));
    Ok(())
}

/// Cuts the power at every moment of long lives of an adapter. Nothing is printed after the program's own summary.
///
/// Returns whether all adapters survived; what is left of one that did not lies in `target/crash`.
pub fn crash() -> Result<bool> {
    let places = Places::find()?;
    let mut crash = Command::new("cargo");
    // Without capture, which needs a library of the system to build.
    crash.args(["run", "--release", "--quiet", "-p", "wheatear", "--no-default-features", "--example", "crash", "--"]);
    crash.arg(places.root.join("target/crash"));
    eprintln!("$ {}", typed(&crash, &places.root));
    Ok(crash.current_dir(&places.root).stdin(Stdio::null()).status().context("cannot start cargo")?.success())
}

/// Everything that `.ci/run` checks.
pub fn ci() -> Result<()> {
    let places = Places::find()?;
    let mut ci = Command::new(places.root.join(".ci/run"));
    ci.current_dir(&places.root);
    step(ci, &places)
}

/// The pinned cargo program `name`, built under the assets when it is not there.
pub fn installed(places: &Places, name: &str) -> Result<PathBuf> {
    let pin = Pins::load()?.program(name)?.clone();
    let tools = places.assets.join("tools");
    let program = tools.join("bin").join(name);
    Steps::new(&places.assets, 1).run(name, &[pin.version.as_bytes()], |progress| {
        progress.note(&format!("building {name} {}, about two minutes", pin.version));
        let mut install = cargo(places, &["install", &pin.name, "--locked", "--force", "--version", &pin.version, "--root"])?;
        // Its own target folder would be thrown away with every build of ours otherwise.
        quiet(install.arg(&tools).env("CARGO_TARGET_DIR", tools.join("build")), || ())?;
        std::fs::remove_dir_all(tools.join("build"))?;
        ensure!(program.exists(), "cargo install left no {}", program.display());
        Ok((vec![program.clone()], pin.version.clone()))
    })?;
    Ok(program)
}

/// Licences, bans and sources of all dependencies by cargo-deny, built under the assets when this machine has none.
///
/// Advisories need their database from the network: they are checked where it can be had, and it is said where not.
pub fn deny() -> Result<()> {
    let places = Places::find()?;
    let program = installed(&places, "cargo-deny")?;
    let check = |what: &[&str]| {
        let mut deny = Command::new(&program);
        deny.args(["--workspace", "--all-features", "check"]).args(what).current_dir(&places.root);
        deny
    };
    step(check(&["licenses", "bans", "sources"]), &places)?;
    if quiet(Command::new(&program).args(["fetch", "db"]).current_dir(&places.root), || ()).is_err() {
        eprintln!("advisories: NOT checked, their database cannot be fetched from here");
        return Ok(());
    }
    step(check(&["advisories"]), &places)
}
