//! Wear and speed of the adapter store beside SQLite, redb and a bare file, on the same rows in one run.
//!
//! Two passes: what a device writes is counted on a file system of its own in memory, where nothing else writes; times are
//! taken in a folder of the disk in question. Where no file system can be mounted, the second pass counts too.

mod device;
mod figures;
mod folder;
mod image;
mod machine;
mod memory;
mod opening;
mod recovery;
mod report;
mod rounds;
mod row;
mod stores;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use device::Device;
use image::Image;
use machine::Machine;
use report::{Counted, Place, Report, mode_report};
use rounds::{Mode, Track};
use stores::{Kind, Shape};

const DIM: usize = 512;
/// How long nothing is written to see what others write.
const IDLE: Duration = Duration::from_secs(3);

/// Wear and speed of the adapter store beside SQLite, redb and a bare file
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench store", version)]
struct Cli {
    /// Where the stores are put while times are taken: a folder on the disk or card in question
    #[arg(long, value_name = "DIR", env = "WHEATEAR_BENCH_FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Rows that are counted with 32 rows a commit; half of them are timed
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    rows: usize,
    /// Rows that are counted with one row a commit; a sixth of them is timed
    #[arg(long, value_name = "N", default_value_t = 24_576)]
    label_rows: usize,
    /// Rows that each store holds
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    replay_rows: u32,
    /// Whether to measure how a large adapter opens, and its memory
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    recovery: bool,
    /// Count on the disk of the folder, together with what others write there
    #[arg(long)]
    no_image: bool,
    /// Also write the figures to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Set when the program has started itself again in a mount namespace
    #[arg(long, hide = true)]
    own_namespace: bool,
    /// Open this adapter, print the memory that took, and end
    #[arg(long, hide = true)]
    memory_of: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(adapter) = &cli.memory_of {
        return memory::child(adapter);
    }
    let mut warnings = Vec::new();
    if !cli.own_namespace && !cli.no_image {
        warnings.push(format!("no file system of its own to count on: {:#}", image::enter_namespace("--own-namespace")));
    }
    let report = measure(&cli, warnings)?;
    print!("{}", table::render(&report));
    if let Some(file) = &cli.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn measure(cli: &Cli, mut warnings: Vec<String>) -> Result<Report> {
    let machine = Machine::look();
    if machine.load.is_some_and(|load| load > machine.cores as f64) {
        warnings.push("the machine is busy: commits also wait for a processor".into());
    }
    let work = folder::work_in(&cli.folder)?;
    let shape = Shape { dim: DIM, replay_rows: cli.replay_rows };
    let image = match cli.own_namespace.then(|| Image::mount(work.path(), image_len_bytes(shape))) {
        Some(Err(e)) => {
            warnings.push(format!("no file system of its own to count on: {e:#}"));
            None
        }
        mounted => mounted.and_then(Result::ok),
    };
    let disk = Device::below(work.path()).map_err(|e| warnings.push(format!("{}: {e:#}", cli.folder.display()))).ok();
    let own = image.as_ref().map(|i| Device::below(&i.place)).transpose()?;
    eprintln!("looking at what others write, {} s", 2 * IDLE.as_secs());
    let timed = disk.as_ref().map(look).transpose()?;
    let counted = own.as_ref().map(look).transpose()?.or_else(|| timed.clone());
    if let (None, Some(disk)) = (&image, &timed) {
        let device = &disk.device;
        warnings.push(format!("sectors are counted on {device} itself, with whatever else is written there; repeat the run and compare"));
    }

    let mut modes = Vec::new();
    for mode in [Mode::new("chunk", 32, 4096, cli.rows), Mode::new("label", 1, 1024, cli.label_rows)] {
        let mut counts = None;
        let mut timed = mode;
        if let (Some(image), Some(own)) = (&image, &own) {
            eprintln!("counting by {}: {} rows in each of {} stores", mode.name, mode.rows, Kind::ALL.len());
            counts = Some((mode, pass(&image.place, Some(own), mode, shape)?));
            fs::remove_dir_all(image.place.join(mode.name))?;
            // Single rows take a card's time: fewer of them, in as many rounds.
            let (rows_per_round, rows) =
                if mode.rows_per_commit > 1 { (mode.rows_per_round, mode.rows / 2) } else { (mode.rows_per_round / 2, mode.rows / 6) };
            timed = Mode::new(mode.name, mode.rows_per_commit, rows_per_round, rows).filled_fast();
        }
        eprintln!("timing by {}: {} rows in each of {} stores", timed.name, timed.rows, Kind::ALL.len());
        let tracks = pass(work.path(), disk.as_ref(), timed, shape)?;
        let counts = counts.as_ref().map(|(mode, tracks)| (*mode, tracks.as_slice()));
        let mut report = mode_report(counts, (timed, &tracks), shape, counted.as_ref().map_or(0.0, |c| c.idle_bytes_per_s));
        eprintln!("opening");
        report.opened(&opening::measure(&work.path().join(mode.name), tracks)?);
        modes.push(report);
        fs::remove_dir_all(work.path().join(mode.name))?;
    }
    let (mut recovery, mut memory) = (None, None);
    if cli.recovery {
        eprintln!("opening a large adapter");
        recovery = Some(recovery::measure(work.path(), recovery::SHAPE)?);
        memory = Some(memory::measure(work.path(), memory::SHAPE)?);
    }
    let place = Place { folder: cli.folder.display().to_string(), counted, timed, warnings };
    let stores = Kind::ALL.map(|kind| (kind.name(), kind.stores())).to_vec();
    Ok(Report { machine, place, dim: DIM, bits: 8, replay_rows: shape.replay_rows, stores, modes, recovery, memory })
}

fn look(device: &Device) -> Result<Counted> {
    Ok(Counted { device: device.name.clone(), idle_bytes_per_s: device.idle_bytes_per_s(IDLE)? })
}

fn pass(place: &Path, device: Option<&Device>, mode: Mode, shape: Shape) -> Result<Vec<Track>> {
    let folder = place.join(mode.name);
    fs::create_dir(&folder)?;
    rounds::run(&folder, device, mode, shape)
}

/// Room for all stores of one mode; what they do not use takes no memory.
fn image_len_bytes(shape: Shape) -> u64 {
    (512 << 20) + u64::from(shape.replay_rows) * 16 * shape.dim as u64 * Kind::ALL.len() as u64
}
