//! `wheatear rollback`: goes back to a checkpoint, or lists those that there are with what going back would lose.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::tally::fewer;
use wheatear::store::{Access, Adapter, Earlier};
use wheatear::{Error, ErrorKind};

use crate::clock;
use crate::opened::{Found, acknowledged, check_loses_nothing, open, reading};
use crate::output::{counted, print_facts};
use crate::tally::{ClassRows, line, list};

/// Go back to an earlier generation; without --to list those that there are, and what would be lost
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// Generation to go back to
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,
    /// With --to: do it. What was learned later is gone
    #[arg(long, requires = "to")]
    yes: bool,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

/// A generation to go back to.
#[derive(Serialize)]
struct Way {
    to: u64,
    /// Rows that are counted now and were not then.
    loses: Vec<ClassRows>,
    /// Rows that were counted then and are not now.
    brings_back: Vec<ClassRows>,
    held_rows: u64,
    recordings: u64,
}

#[derive(Serialize)]
struct Listed<'a> {
    adapter: &'a PathBuf,
    generation: u64,
    ways: Vec<Way>,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize)]
struct RolledBack<'a> {
    adapter: &'a PathBuf,
    /// False when it was not confirmed.
    rolled_back: bool,
    #[serde(flatten)]
    way: Way,
    generation: u64,
    durable: bool,
    origin: String,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear rollback`.
///
/// # Errors
/// `Input` when there is no such checkpoint, or `--yes` is not given; `Corrupt` as [`check_loses_nothing`]; those of opening and writing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Some(to) = args.to else {
        let listed = reading(&args.adapter, |adapter| {
            let earlier = adapter.generations().into_iter().map(|g| adapter.earlier(g)).collect::<Result<Vec<_>, _>>()?;
            let ways = earlier.iter().map(|e| way(adapter, e)).collect();
            Ok(Listed { adapter: &args.adapter, generation: adapter.generation(), ways, found: Found::of(adapter) })
        })?;
        return print_facts(args.json, &listed, table);
    };
    let mut done = reading(&args.adapter, |adapter| {
        let way = way(adapter, &adapter.earlier(to)?);
        let (generation, durable, origin) = (adapter.generation(), adapter.is_durable(), adapter.origin().to_string());
        let found = Found::of(adapter);
        Ok(RolledBack { adapter: &args.adapter, rolled_back: false, way, generation, durable, origin, found })
    })?;
    if args.yes {
        check_loses_nothing(&args.adapter)?;
        let mut adapter = open(&args.adapter, Access::Write)?;
        (done.way, done.found) = (way(&adapter, &adapter.earlier(to)?), Found::of(&adapter));
        // Others may have received what is taken back: the device goes on as another.
        adapter.roll_back(to, u64::from_le_bytes(clock::random_bytes()?))?;
        (done.rolled_back, done.generation, done.durable) = (true, adapter.generation(), adapter.is_durable());
        done.origin = adapter.origin().to_string();
    }
    print_facts(args.json, &done, text)?;
    if args.yes {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Input, "going back is not confirmed")
        .at(args.adapter.display())
        .expected("--yes")
        .cure("add --yes if what would be lost may go")
        .into())
}

fn way(adapter: &Adapter, earlier: &Earlier) -> Way {
    let now = adapter.tally();
    let (loses, brings_back) = (list(&fewer(&now, &earlier.rows)), list(&fewer(&earlier.rows, &now)));
    Way { to: earlier.generation, loses, brings_back, held_rows: earlier.held_rows, recordings: earlier.sources }
}

fn table(l: &Listed<'_>) -> String {
    let mut text = format!("{}: generation {}\n", l.adapter.display(), l.generation);
    if l.ways.is_empty() {
        text += "there is nothing to go back to yet: checkpoints come by themselves as it learns; the newest labels: wheatear undo\n";
    }
    l.ways.iter().for_each(|w| text += &format!("  --to {:<6} {}\n", w.to, describe(w)));
    text
}

fn describe(w: &Way) -> String {
    let back = if w.brings_back.is_empty() { String::new() } else { format!(", brings back {}", line(&w.brings_back)) };
    let (held, known) = (counted(w.held_rows, "row"), counted(w.recordings, "recording"));
    format!("loses {}{back}; {held} held, {known} known", line(&w.loses))
}

fn text(d: &RolledBack<'_>) -> String {
    match d.rolled_back {
        false => format!("going back to generation {} {}\n", d.way.to, describe(&d.way)),
        true => {
            let done = acknowledged(d.generation, d.durable);
            format!("going back to generation {} {}\ndone: {done}; learns on as {}\n", d.way.to, describe(&d.way), d.origin)
        }
    }
}
