//! `wheatear undo`: takes back the last labels. The statistics lose exactly what they had gained.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::tally::fewer;
use wheatear::store::{Access, Durability};

use crate::board::BoardArgs;
use crate::opened::{Found, acknowledged, open, serves};
use crate::output::{counted, print_facts};
use crate::tally::{ClassRows, line, list};

/// Take back the last labels, exactly: a recording each, by when it was taught. What relabel changed is no label of its own: its rows
/// go with their recording, and are else put back with relabel
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// How many labels, which is recordings
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    labels: u32,
    #[command(flatten)]
    board: BoardArgs,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Undone<'a> {
    adapter: &'a PathBuf,
    labels: u32,
    rows: u64,
    rows_by_class: Vec<ClassRows>,
    generation: u64,
    durable: bool,
    /// Generation of the head that serves.
    serves: Option<u64>,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear undo`.
///
/// # Errors
/// `Input` when there are not so many labels, `Limit` when one reaches behind the undo horizon; those of opening and writing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut adapter = open(&args.adapter, Access::Write)?;
    let budget = args.board.budget(&adapter)?;
    let before = adapter.tally();
    let (rows, ack) = adapter.undo(args.labels as usize, Durability::Now)?;
    let undone = Undone {
        adapter: &args.adapter,
        labels: args.labels,
        rows,
        rows_by_class: list(&fewer(&before, &adapter.tally())),
        generation: ack.generation,
        durable: ack.durable,
        serves: serves(&adapter, &budget),
        found: Found::of(&adapter),
    };
    print_facts(args.json, &undone, |u| {
        let (rows, done) = (counted(u.rows, "row"), acknowledged(u.generation, u.durable));
        let labels = if u.labels == 1 { "the last recording".to_owned() } else { format!("the last {} recordings", u.labels) };
        let rest = "what was relabelled in others stays so: wheatear relabel changes it again";
        format!("took back {labels}: {rows} ({}); {done}\n{rest}\n", line(&u.rows_by_class))
    })
}
