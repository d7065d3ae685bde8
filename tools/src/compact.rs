//! `wheatear compact`: writes an adapter anew, its held rows packed together. What opening passes over is not written again: where
//! `wheatear repair` would save rows of it, nothing is done.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::storage::DiskFolder;
use wheatear::store::{Access, Salvage};
use wheatear::{Error, ErrorKind, Result};

use crate::opened::{Found, acknowledged, open, reading};
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
    // What the store warns of here, it warns of again when it opens it for writing.
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Error);
    let damaged = reading(&args.adapter, |adapter| Ok((adapter.damaged_chunks() > 0).then_some(adapter.held_rows())));
    log::set_max_level(level);
    if let Some(held_rows) = damaged? {
        check_loses_nothing(&args.adapter, held_rows)?;
    }
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

/// Refuses a damaged adapter of which repair would save more than the `held_rows` that opening finds.
fn check_loses_nothing(folder: &Path, held_rows: u64) -> Result<()> {
    let whole_rows = Salvage::read(&DiskFolder::new(folder), None)?.report().held_rows;
    if whole_rows <= held_rows {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the adapter is damaged, and writing it anew would lose rows that are whole")
        .at(folder.display())
        .expected(format!("{} held", counted(whole_rows, "whole row")))
        .found(held_rows)
        .cure(format!("wheatear repair {} --out NEW makes a new one of them", folder.display())))
}
