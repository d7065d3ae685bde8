//! `wheatear dump`: an adapter as plain files that other programs read, and `wheatear load` reads again.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::opened::{Found, reading};
use crate::output::{counted, print_facts};
use crate::portable::{self, Dumped};

/// Write an adapter as plain files: adapter.json, rows.safetensors, statistics.safetensors
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// Folder for the files; it must be new or empty
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    adapter: &'a PathBuf,
    out: &'a PathBuf,
    #[serde(flatten)]
    dumped: Dumped,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear dump`.
///
/// # Errors
/// Those of opening and reading; `Input` when there is something in the folder; `Storage` when it cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (dumped, found) = reading(&args.adapter, |adapter| Ok((portable::write(adapter, &args.out)?, Found::of(adapter))))?;
    print_facts(args.json, &Report { adapter: &args.adapter, out: &args.out, dumped, found }, |r| {
        let (d, mib) = (&r.dumped, r.dumped.bytes as f64 / f64::from(1 << 20));
        let (rows, blocks) = (counted(d.rows as u64, "row"), counted(d.blocks as u64, "block"));
        let text = format!("{}: {rows} and {blocks} of generation {}, {mib:.1} MiB\n", r.out.display(), d.generation);
        format!("{text}statistics sha256 {}\n", d.statistics_sha256)
    })
}
