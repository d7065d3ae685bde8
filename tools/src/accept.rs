//! `wheatear accept`: lets the head of the newest labels serve although the guard refused it.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::learner::{self, Verdict};
use wheatear::store::Access;

use crate::board::BoardArgs;
use crate::opened::{Found, open};
use crate::output::print_facts;

/// Let the head of the newest labels serve, whatever the guard says of it
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Accepted<'a> {
    adapter: &'a PathBuf,
    /// False when it served already.
    was_refused: bool,
    /// What the guard had said.
    verdict: Option<Verdict>,
    /// Generation that serves now.
    generation: u64,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear accept`.
///
/// # Errors
/// `Learn` when nothing was learned yet; those of opening and writing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut adapter = open(&args.adapter, Access::Write)?;
    let budget = args.board.budget(&adapter)?;
    let standing = learner::stand(&adapter, &budget)?;
    let was_refused = standing.is_refused();
    let generation = if was_refused { learner::accept(&mut adapter, &budget)?.generation } else { standing.generation };
    let verdict = standing.verdict;
    let done = Accepted { adapter: &args.adapter, was_refused, verdict, generation, found: Found::of(&adapter) };
    print_facts(args.json, &done, |d| match (&d.verdict, d.was_refused) {
        (Some(verdict), true) => format!("the head of generation {} serves now, although: {verdict}\n", d.generation),
        _ => format!("the head of generation {} serves; nothing had been refused\n", d.generation),
    })
}
