//! What `cargo xtask prove soak` runs:
//! `soak live WHEATEARD BACKBONE SOUNDS FOLDER MINUTES`, the sounds being a folder of sets of classes and the folder a new one;
//! `soak hour BACKBONE SOUNDS MINUTES`; `soak backbone BACKBONE WINDOWS`, which the first runs. And `cargo xtask peers live`:
//! `soak tape FOLDER FILE.wav SECONDS` joins the clips in the folders of a folder at 16 kHz; `soak speech BACKBONE FILE.wav` answers them.

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cap::Cap;
use serde_json::json;
use wheatear::{Error, ErrorKind, Result};
use wheatear_tests::soak::live::{self, PLANNED, Plan};
use wheatear_tests::soak::{alone, clips::Clips, hour, report::Report, speech, tape::Tape};

/// Counts what is asked for.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Sets of classes that are played.
const SETS: [&str; 2] = ["instruments", "sonicpi"];
/// Who watch at once.
const CROWD: usize = 50;
const SEED: u64 = 1;
/// Rate of speech.
const SPEECH_HZ: u32 = 16_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match words[..] {
        ["backbone", folder, windows] => windows.parse().map(|windows| backbone(Path::new(folder), windows)).ok(),
        ["tape", sounds, file, seconds] => seconds.parse().ok().map(|seconds| tape(sounds, Path::new(file), seconds)),
        ["speech", backbone, file] => Some(speech::run(Path::new(backbone), Path::new(file)).map(|speed| println!("{}", json!(speed)))),
        ["hour", backbone, sounds, minutes] => minutes.parse().ok().map(|minutes: f64| {
            let sounds = sets(sounds);
            hour(&hour::Plan { backbone: backbone.into(), sounds, seconds: minutes * 60.0, seed: SEED })
        }),
        ["live", wheateard, backbone, sounds, folder, minutes] => minutes.parse().ok().map(|minutes: f64| {
            let sounds = sets(sounds);
            let [wheateard, backbone, folder] = [wheateard, backbone, folder].map(PathBuf::from);
            live(&Plan { wheateard, backbone, sounds, folder, time: Duration::from_secs_f64(minutes * 60.0), crowd: CROWD, seed: SEED })
        }),
        _ => None,
    };
    match ran {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(e)) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!(
                "usage: soak live WHEATEARD BACKBONE SOUNDS FOLDER MINUTES | soak hour BACKBONE SOUNDS MINUTES | soak backbone BACKBONE WINDOWS \
                 | soak tape FOLDER FILE.wav SECONDS | soak speech BACKBONE FILE.wav"
            );
            ExitCode::from(2)
        }
    }
}

fn sets(sounds: &str) -> Vec<PathBuf> {
    SETS.map(|set| Path::new(sounds).join(set)).into()
}

fn tape(sounds: &str, file: &Path, seconds: f64) -> Result<()> {
    Tape::new(Clips::new(&[sounds.into()], SEED)?, SPEECH_HZ).write(file, seconds)
}

fn backbone(folder: &Path, windows: u32) -> Result<()> {
    println!("{}", json!(alone::run(folder, windows)?));
    Ok(())
}

fn live(plan: &Plan) -> Result<()> {
    let seen = live::run(plan, |n, sample| {
        if n % (PLANNED / 30) == 0 {
            let (usage, counts) = (&sample.usage, &sample.counts);
            println!(
                "  {:4.1} min: {} KiB resident, {:.2} s of processor, {} windows, lost {}",
                plan.time.as_secs_f64() / 60.0 * f64::from(n) / f64::from(PLANNED),
                usage.rss_kib,
                usage.cpu_s,
                counts["windows"],
                counts["frames_lost"]
            );
        }
    })?;
    let report = Report::new(&seen);
    let (spoken, notes) = (&seen.spoken, &seen.notes);
    let file = plan.folder.join("soak.json");
    let all = json!({"alone": seen.alone, "samples": seen.samples, "crowd": seen.crowd, "spoken": spoken, "events": notes.events,
        "warnings": notes.warnings, "report": report});
    std::fs::write(&file, format!("{all:#}\n")).map_err(|e| Error::io("write", &file, e))?;
    println!("  clips {}, labels {}, taken back {}, refused {}", spoken.clips, spoken.labels, spoken.undone, spoken.refused.len());
    spoken.refused.iter().take(3).for_each(|why| println!("    {why}"));
    println!("  events {:?}; warnings {}", notes.events, notes.warnings.len());
    notes.warnings.iter().take(5).for_each(|text| println!("    {text}"));
    let (least, missed) = (seen.crowd.iter().map(|got| got.windows).min(), seen.crowd.iter().map(|got| got.missed).sum::<u64>());
    println!("  {} watched at once: at least {} windows each, messages missed {missed}", seen.crowd.len(), least.unwrap_or(0));
    println!("{report}");
    judged(&report.missed())
}

fn hour(plan: &hour::Plan) -> Result<()> {
    let report = hour::run(
        plan,
        || HEAP.total_allocated(),
        |sound_s, wall_s, rss_kib| println!("  {sound_s:.0} s of sound heard in {wall_s:.0} s, {rss_kib} KiB resident"),
    )?;
    println!("{report}");
    judged(&report.missed())
}

fn judged(missed: &[String]) -> Result<()> {
    if missed.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, "what must hold does not").found(missed.join("; ")))
}
