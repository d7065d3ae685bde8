//! `wheatear compact`: writes an adapter anew, its held rows packed together. What opening passes over is not written again: where
//! `wheatear repair` would save rows of it, nothing is done.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::Access;

use crate::opened::{Found, acknowledged, check_loses_nothing, open};
use crate::output::{counted, print_facts};

/// Write an adapter anew, its held rows packed together (never needed to stay within bounds). Refused where repair would save rows of a
/// damaged one
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Compacted<'a> {
    adapter: &'a PathBuf,
    held_rows: u64,
    chunks_before: u64,
    chunks: u64,
    file_set: u32,
    generation: u64,
    durable: bool,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear compact`.
///
/// # Errors
/// Those of opening; `Corrupt` when it is damaged and repair would save rows that this would lose; `Storage` when there is no room for a
/// second set of files.
pub fn run(args: &Args) -> anyhow::Result<()> {
    check_loses_nothing(&args.adapter)?;
    let mut adapter = open(&args.adapter, Access::Write)?;
    let (chunks_before, found) = (adapter.chunks_in_use(), Found::of(&adapter));
    adapter.compact()?;
    let compacted = Compacted {
        adapter: &args.adapter,
        held_rows: adapter.held_rows(),
        chunks_before,
        chunks: adapter.chunks_in_use(),
        file_set: adapter.header().epoch,
        generation: adapter.generation(),
        durable: adapter.is_durable(),
        found,
    };
    print_facts(args.json, &compacted, |c| {
        let done = acknowledged(c.generation, c.durable);
        format!("{} held in {}, before in {}; {done}\n", counted(c.held_rows, "row"), counted(c.chunks, "chunk"), c.chunks_before)
    })
}
