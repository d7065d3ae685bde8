//! `cargo xtask live`: the main job on live sound. A private sound server plays clips into a microphone without hardware, `wheatear
//! listen` hears them, is told what two new classes are, and must know them in clips that it never heard.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::check;
use crate::note;
use crate::process::{loud, typed};
use crate::setup::{self, Goal};

/// Runs it.
pub fn run(offline: bool) -> Result<()> {
    let places = setup::run(Goal::Test, offline)?;
    note("Building the command and what plays to it");
    loud(Command::new("cargo").args(["build", "--release", "--quiet", "--locked", "-p", "wheatear-tools", "--bin", "wheatear"]))?;
    loud(Command::new("cargo").args(["build", "--quiet", "--locked", "-p", "wheatear-tests", "--bin", "live"]))?;
    // Short: the path of a socket may have 107 bytes.
    let folder = private_folder("live")?;
    let mut live = Command::new(places.root.join("target/debug/live"));
    live.arg(places.root.join("target/release/wheatear")).arg(places.assets.join("models/aisfx"));
    live.arg(places.assets.join("sounds/instruments")).arg(&folder).current_dir(&places.root);
    live.env("ORT_DYLIB_PATH", check::onnxruntime(&places)?);
    note("Three instruments are known from files; two more are taught while they sound");
    println!("$ {}", typed(&live, &places.root));
    let status = live.status().context("cannot start target/debug/live");
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let status = status?;
    ensure!(status.success(), "the live test ended with {status}");
    Ok(())
}

/// A new folder with a short path.
pub fn private_folder(name: &str) -> Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("wheatear-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
