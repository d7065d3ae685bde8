//! `cargo xtask crash`: a power cut at every moment of long lives, exhaustively.
//!
//! Each phase of each life is lived on a disk in memory; every image that a power cut can leave is opened, compared with the
//! diary, taught on and opened again. What fails is described, and its files are left under the folder that is named as the
//! argument (`target/crash`).

// The modules are shared with the tests, which use what this program does not.
#![allow(dead_code, missing_docs)]

mod again;
mod committed;
mod cuts;
mod diary;
mod disk;
mod exhaust;
mod fail;
mod pages;
mod script;
mod survive;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use again::{cut_recoveries, killed_writers};
use cuts::{Depth, EVERYTHING};
use exhaust::{Outcome, carried, power_cuts};
use fail::{failing_changes, failing_reads, failing_to_open};
use script::{Lived, migration, stories};

fn main() -> ExitCode {
    let dump = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/crash".into()));
    // A panic is a failure of the image, and is told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = Outcome::default();
    let only = std::env::args().nth(2).unwrap_or_default();
    let (phase, start) = migration();
    let mut lives: Vec<Lived> = stories(false).iter().flat_map(|story| story.live()).collect();
    lives.push(phase.live(&start, "an adapter of format 1"));
    lives.retain(|lived| lived.name.contains(&only));
    let what = std::env::args().nth(3).unwrap_or_default();
    for lived in lives.iter().filter(|_| what != "faults") {
        let events = lived.life.disk.events();
        println!(
            "{}: {} calls, {} operations, {} records of carried rows",
            lived.name,
            lived.life.diary.calls.len(),
            events.len(),
            carried(&events)
        );
        let dump = dump.join(lived.name.replace([' ', ':'], "-"));
        let untorn = Depth { torn: false, ..EVERYTHING };
        all.add(told("a power cut", || power_cuts(lived, EVERYTHING, Some(&dump))));
        all.add(told("a killed writer, another, and a power cut", || killed_writers(lived, untorn)));
        all.add(told("a power cut, and another one while it is mended", || cut_recoveries(lived, untorn)));
    }
    let mut failed = Outcome::default();
    for lived in &lives {
        println!("{}:", lived.name);
        failed.add(told("a failing change of the disk", || failing_changes(lived, false, Some(&dump.join("changes")))));
        failed.add(told("a failing read", || failing_reads(lived, Some(&dump.join("reads")))));
        failed.add(told("a failing read while it is opened", || failing_to_open(lived, 1, Some(&dump.join("opening")))));
    }
    println!("failing operations: {}, lost: {}", failed.images, failed.lost);
    println!("crash images: {}, lost: {}", all.images, all.lost);
    if all.lost + failed.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what came of it.
fn told(what: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    let began = Instant::now();
    let outcome = run();
    println!("  {what}: {} images, lost {} ({:.1} s)", outcome.images, outcome.lost, began.elapsed().as_secs_f64());
    outcome.failures.iter().for_each(|failure| println!("  LOST {failure}"));
    outcome
}
