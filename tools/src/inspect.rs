//! `wheatear inspect`: what an adapter holds. Reads only, also while a daemon writes.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::learn::BlockKind;
use wheatear::store::{Access, Adapter};

use crate::output::{bold, print};

/// Show what an adapter holds
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Class {
    name: String,
    rows: u64,
}

#[derive(Serialize)]
struct Facts {
    adapter: PathBuf,
    format: u32,
    backbone: String,
    space: String,
    dim: u32,
    latent_bits: u8,
    classes: Vec<Class>,
    rows: u64,
    mixed_rows: u64,
    background_rows: u64,
    replay_rows: u64,
    evicted_rows: u64,
    generation: u64,
    checkpoint_generation: u64,
    recovery: String,
    damaged_chunks: u64,
    origins: Vec<String>,
    bytes: u64,
    statistics_sha256: String,
}

/// Runs `wheatear inspect`.
///
/// # Errors
/// Those of opening the adapter.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let adapter = Adapter::open(&args.adapter, Access::Read)?;
    let facts = facts(&adapter)?;
    if args.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&facts)?));
    }
    print(&table(&facts))
}

fn facts(adapter: &Adapter) -> anyhow::Result<Facts> {
    let header = adapter.header();
    let rows = |kind| adapter.block(kind).map(|b| b.map_or(0, |b| b.rows()));
    let latents = adapter.block(BlockKind::Latents)?;
    let class = |(name, sums): (&wheatear::learn::ClassName, &wheatear::learn::ClassSums)| Class { name: name.to_string(), rows: sums.n };
    let mut bytes = 0;
    for entry in std::fs::read_dir(adapter.folder())? {
        bytes += entry?.metadata()?.len();
    }
    Ok(Facts {
        adapter: adapter.folder().to_path_buf(),
        format: header.format,
        backbone: header.creation.backbone.clone(),
        space: header.creation.space.to_string(),
        dim: header.creation.dim,
        latent_bits: header.creation.bits,
        classes: latents.iter().flat_map(|b| b.classes()).map(class).collect(),
        rows: latents.as_ref().map_or(0, |b| b.rows()),
        mixed_rows: rows(BlockKind::Mixed)?,
        background_rows: rows(BlockKind::Background)?,
        replay_rows: adapter.held_rows(),
        evicted_rows: adapter.evicted_rows(),
        generation: adapter.generation(),
        checkpoint_generation: adapter.checkpoint_generation(),
        recovery: adapter.recovery().to_string(),
        damaged_chunks: adapter.damaged_chunks(),
        origins: adapter.origins().iter().map(|o| o.to_string()).collect(),
        bytes,
        statistics_sha256: adapter.statistics_digest()?.iter().map(|b| format!("{b:02x}")).collect(),
    })
}

fn table(f: &Facts) -> String {
    let mut text = format!("{}\n", bold(&f.adapter.display().to_string()));
    let mut line = |key: &str, value: String| text += &format!("  {key:<12} {value}\n");
    line("backbone", format!("{} (D={}, {} bits a component)", f.backbone, f.dim, f.latent_bits));
    line("space", f.space.clone());
    line("generation", format!("{} (checkpoint {}; {})", f.generation, f.checkpoint_generation, f.recovery));
    line("origins", f.origins.join(", "));
    line("rows", format!("{} ({} mixed, {} background)", f.rows + f.mixed_rows + f.background_rows, f.mixed_rows, f.background_rows));
    line("replay", format!("{} rows held, {} left it", f.replay_rows, f.evicted_rows));
    line("disk", format!("{:.1} MiB, fixed", f.bytes as f64 / f64::from(1 << 20)));
    line("statistics", format!("sha256 {}", f.statistics_sha256));
    if f.damaged_chunks > 0 {
        line("damaged", format!("{} chunks: their rows left replay, the statistics count them still", f.damaged_chunks));
    }
    text += &format!("  {}\n", bold(&format!("{} classes", f.classes.len())));
    let width = f.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    f.classes.iter().for_each(|c| text += &format!("    {:<width$} {:>6} rows\n", c.name, c.rows));
    text
}
