//! `cargo xtask crash`: a power cut at every moment of long lives, exhaustively.
//!
//! Each phase of each life is lived on a disk in memory; every image that a power cut can leave is opened, compared with the
//! diary, taught on and opened again. What fails is described, and its files are left under the folder that is named as the
//! argument (`target/crash`).

// The modules are shared with the tests, which use what this program does not.
#![allow(dead_code, missing_docs)]

mod committed;
mod cuts;
mod diary;
mod disk;
mod exhaust;
mod pages;
mod script;
mod survive;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use cuts::EVERYTHING;
use exhaust::{Outcome, carried, power_cuts};
use script::{Lived, stories};

fn main() -> ExitCode {
    let dump = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/crash".into()));
    // A panic is a failure of the image, and is told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = Outcome::default();
    let only = std::env::args().nth(2).unwrap_or_default();
    let lives = stories(false).iter().flat_map(|story| story.live()).filter(|l| l.name.contains(&only)).collect::<Vec<Lived>>();
    for lived in &lives {
        let began = Instant::now();
        let outcome = power_cuts(lived, EVERYTHING, Some(&dump.join(lived.name.replace([' ', ':'], "-"))));
        let (operations, carried) = (lived.life.disk.operations(), carried(&lived.life.disk.events()));
        println!(
            "{}: {} calls, {operations} operations, {carried} records of carried rows: {} images, lost {} ({:.1} s)",
            lived.name,
            lived.life.diary.calls.len(),
            outcome.images,
            outcome.lost,
            began.elapsed().as_secs_f64()
        );
        outcome.failures.iter().for_each(|failure| println!("  LOST {failure}"));
        all.add(outcome);
    }
    println!("crash images: {}, lost: {}", all.images, all.lost);
    if all.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
