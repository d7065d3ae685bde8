//! `wheatear load`: a new adapter from what `wheatear dump` has written. It has all that the old one had, and learns on as
//! another incarnation of its device, since the old one may go on learning, too.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::Adapter;

use crate::clock;
use crate::opened::{acknowledged, tell_size};
use crate::output::{counted, print_facts};
use crate::portable;

/// Make an adapter of what `dump` has written
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Folder that dump has written
    folder: PathBuf,
    /// The new adapter: a folder that must be new or empty
    #[arg(long, value_name = "FOLDER")]
    adapter: PathBuf,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Loaded<'a> {
    adapter: &'a PathBuf,
    from: &'a PathBuf,
    rows: u64,
    recordings: u64,
    origin: String,
    dumped_by: String,
    statistics_sha256: String,
    generation: u64,
    durable: bool,
}

/// Runs `wheatear load`.
///
/// # Errors
/// Those of [`portable::read`]; `Input` when there is something in the adapter's place; `Storage` when there is no room.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let contents = portable::read(&args.folder, u64::from_le_bytes(clock::random_bytes()?))?;
    if std::fs::read_dir(&args.adapter).map_or(true, |mut entries| entries.next().is_none()) {
        tell_size(&contents.anew.creation)?;
    }
    let records = contents.records;
    let adapter = Adapter::import(&args.adapter, clock::random_bytes()?, contents.anew, |sink| records.into_iter().try_for_each(sink))?;
    let loaded = Loaded {
        adapter: &args.adapter,
        from: &args.folder,
        rows: adapter.held_rows(),
        recordings: adapter.sources().count() as u64,
        origin: adapter.origin().to_string(),
        dumped_by: contents.dumped_by.to_string(),
        statistics_sha256: adapter.statistics_digest()?.iter().map(|b| format!("{b:02x}")).collect(),
        generation: adapter.generation(),
        durable: adapter.is_durable(),
    };
    print_facts(args.json, &loaded, |l| {
        let done = acknowledged(l.generation, l.durable);
        let (held, known) = (counted(l.rows, "row"), counted(l.recordings, "recording"));
        let text = format!("{}: {held} held, {known} known; {done}\n", l.adapter.display());
        format!("{text}learns on as {}; statistics sha256 {}\n", l.origin, l.statistics_sha256)
    })
}
