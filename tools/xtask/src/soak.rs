//! `cargo xtask prove soak`: an hour of sound as fast as the machine allows, then half an hour of real time through a sound server, with a
//! real backbone. What must hold is judged by the program itself, which prints its figures.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::assets::Places;
use crate::check;
use crate::live::private_folder;
use crate::note;
use crate::process::{loud, typed};
use crate::setup::{self, Goal};

/// The heap's settings, as boards/wheateard.service has them.
const HEAP: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// How long.
#[derive(clap::Args)]
pub struct Args {
    /// Minutes of real time; 0 leaves it out
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Minutes of sound as fast as the machine allows; 0 leaves it out
    #[arg(long, default_value_t = 60.0)]
    sound_minutes: f64,
    /// Fetch nothing: use what is cached
    #[arg(long)]
    offline: bool,
}

/// Builds the daemon and the program that proves it.
pub fn build(places: &Places) -> Result<()> {
    note("Building the daemon and what plays to it");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--locked", "-p", "wheatear", "-p", "wheatear-tests"]);
    build.args(["--features", "wheatear/wheateard", "--bin", "wheateard", "--bin", "soak"]);
    loud(build.current_dir(&places.root)).map(drop)
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let places = setup::run(Goal::Test, args.offline)?;
    build(&places)?;
    let (release, out) = (places.root.join("target/release"), places.root.join("target/soak"));
    let (backbone, sounds) = (places.assets.join("models/aisfx"), places.assets.join("sounds"));
    let prove = |words: &[&Path]| -> Result<()> {
        let mut soak = Command::new(release.join("soak"));
        soak.args(words).envs(HEAP).env("ORT_DYLIB_PATH", check::onnxruntime(&places)?).current_dir(&places.root);
        println!("$ {}", typed(&soak, &places.root));
        loud(&mut soak).map(drop)
    };
    let heard = if args.sound_minutes > 0.0 {
        note("As fast as the machine allows");
        prove(&[Path::new("hour"), &backbone, &sounds, Path::new(&args.sound_minutes.to_string())])
    } else {
        Ok(())
    };
    if args.minutes > 0.0 {
        note("Real time, through a sound server");
        // Short: the path of a socket may have 107 bytes.
        let folder = private_folder("soak")?;
        let lived =
            prove(&[Path::new("live"), &release.join("wheateard"), &backbone, &sounds, &folder, Path::new(&args.minutes.to_string())]);
        let (from, to) = (folder.join("soak.json"), out.join("soak.json"));
        if from.exists() {
            fs::create_dir_all(&out).and_then(|()| fs::copy(&from, &to)).with_context(|| format!("cannot write {}", to.display()))?;
            println!("figures: {}", places.show(&to));
        }
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        lived?;
    }
    heard
}
