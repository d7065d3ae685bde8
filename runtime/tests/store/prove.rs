//! `cargo xtask crash`: every power cut, every failing operation of the disk and every flipped bit.
//!
//! Each life is lived on a disk in memory, phase by phase. Every image that a power cut can leave is opened, compared with the
//! diary, taught on and opened again; so is what is left when any operation of the disk fails. What is lost is described, and
//! its files are left in the folder that is named as the argument (`target/crash`). A second argument names the lives to be
//! tried, by a part of their names.

// The modules are shared with the tests, which use what this program does not.
#![allow(dead_code, missing_docs)]

mod again;
mod committed;
mod cuts;
mod diary;
mod disk;
mod exhaust;
mod fail;
mod flips;
mod pages;
mod script;
mod survive;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use again::{cut_recoveries, killed_writers};
use cuts::{Depth, EVERYTHING};
use exhaust::{Outcome, carried, power_cuts};
use fail::{failing_changes, failing_reads, failing_to_open};
use flips::{Flips, every_flip};
use script::{Lived, migration, stories, well_used};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let dump = PathBuf::from(args.next().unwrap_or_else(|| "target/crash".into()));
    let only = args.next().unwrap_or_default();
    // A panic is a failure of the image, and is told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut lives: Vec<Lived> = stories(false).iter().flat_map(|story| story.live()).collect();
    let (phase, start) = migration();
    lives.push(phase.live(&start, "an adapter of format 1"));
    let (mut cut, mut failed) = (Outcome::default(), Outcome::default());
    for lived in lives.iter().filter(|lived| lived.name.contains(&only)) {
        let (calls, events) = (lived.life.diary.calls.len(), lived.life.disk.events());
        println!("{}: {calls} calls, {} operations, {} records of carried rows", lived.name, events.len(), carried(&events));
        let dump = dump.join(lived.name.replace([' ', ':'], "-"));
        let untorn = Depth { torn: false, ..EVERYTHING };
        cut.add(told("a power cut", "images", || power_cuts(lived, EVERYTHING, Some(&dump.join("cut")))));
        cut.add(told("a killed writer, another one, and a power cut", "images", || killed_writers(lived, untorn)));
        cut.add(told("a power cut, and another one while it is mended", "images", || cut_recoveries(lived, untorn)));
        failed.add(told("a failing change of the disk", "failures", || failing_changes(lived, false, Some(&dump.join("change")))));
        failed.add(told("a failing read", "failures", || failing_reads(lived, Some(&dump.join("read")))));
        failed.add(told("a failing read while it is opened", "failures", || failing_to_open(lived, 1, Some(&dump.join("opening")))));
    }
    let well_used = well_used();
    let silent = if well_used.name.contains(&only) { flip(&well_used, &dump.join("flip")).silent } else { 0 };
    println!("failing operations: {}, lost: {}", failed.images, failed.lost);
    println!("crash images: {}, lost: {}", cut.images, cut.lost);
    if cut.lost + failed.lost + silent == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what came of it.
fn told(what: &str, of: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    let began = Instant::now();
    let outcome = run();
    println!("  {what}: {} {of}, lost {} ({:.1} s)", outcome.images, outcome.lost, began.elapsed().as_secs_f64());
    outcome.failures.iter().for_each(|failure| println!("  LOST {failure}"));
    outcome
}

/// Flips every bit of an adapter that is read when it is opened.
fn flip(lived: &Lived, dump: &Path) -> Flips {
    let began = Instant::now();
    let flips = every_flip(lived, |_| 0..8, Some(dump));
    println!(
        "{}: refused {}, reported {}, harmless {}; {} bits are never read ({:.1} s)",
        lived.name,
        flips.refused,
        flips.reported,
        flips.harmless,
        flips.unread,
        began.elapsed().as_secs_f64()
    );
    flips.failures.iter().for_each(|failure| println!("  SILENT {failure}"));
    println!("bit flips: {}, silent: {}", flips.flipped, flips.silent);
    flips
}
