//! `wheatear forget`: forgets a class. Softly: its held rows are taken back, what others added stays anonymous, so that the
//! shared scatter stays right. Hard: the statistics are summed anew without it, and nothing of it is left.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::learn::ClassName;
use wheatear::store::{Access, Adapter, Durability};
use wheatear::{Error, ErrorKind};

use crate::board::BoardArgs;
use crate::opened::{Found, acknowledged, check_loses_nothing, open, serves};
use crate::output::{counted, print_facts};
use crate::tally::{ClassRows, line, list, names};

/// Forget a class: its held rows are taken back, what left replay stays as an anonymous retired class
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// Class
    class: ClassName,
    /// Without a trace: sum the statistics anew from held rows. Rows of other classes that left replay are lost with it
    #[arg(long)]
    hard: bool,
    /// With --hard: also when rows of other classes are lost
    #[arg(long, requires = "hard")]
    yes: bool,
    #[command(flatten)]
    board: BoardArgs,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Forgotten<'a> {
    adapter: &'a PathBuf,
    class: &'a ClassName,
    hard: bool,
    /// False when it was refused for what it would lose.
    forgotten: bool,
    rows_taken_back: u64,
    rows_that_stay_as_something_else: u64,
    rows_retired: u64,
    lost_beside: Vec<ClassRows>,
    generation: u64,
    durable: bool,
    /// Generation of the head that serves.
    serves: Option<u64>,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear forget`.
///
/// # Errors
/// `Input` when there is no such class, or when forgetting hard would lose rows of others and `--yes` is not given; `Corrupt` as
/// [`check_loses_nothing`]; those of opening and writing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.hard {
        check_loses_nothing(&args.adapter)?;
    }
    let mut adapter = open(&args.adapter, Access::Write)?;
    let budget = args.board.budget(&adapter)?;
    let mut done = Forgotten {
        adapter: &args.adapter,
        class: &args.class,
        hard: args.hard,
        forgotten: false,
        rows_taken_back: 0,
        rows_that_stay_as_something_else: 0,
        rows_retired: 0,
        lost_beside: Vec::new(),
        generation: adapter.generation(),
        durable: adapter.is_durable(),
        serves: None,
        found: Found::of(&adapter),
    };
    let (only, mixed) = held(&adapter, &args.class);
    let tally = adapter.tally();
    let rows: u64 = [args.class.clone(), args.class.retired()].map(|its| tally.get(&Some(its)).copied().unwrap_or(0)).iter().sum();
    if args.hard {
        done.lost_beside = list(&adapter.loss_of_forgetting_hard(&args.class)?);
        if !done.lost_beside.is_empty() && !args.yes {
            print_facts(args.json, &done, |d| format!("would lose beside {}: {}\n", d.class, line(&d.lost_beside)))?;
            return Err(refused(args, &done.lost_beside).into());
        }
        done.lost_beside = list(&adapter.forget_hard(&args.class)?);
    } else {
        done.rows_retired = adapter.forget(&args.class, Durability::Now)?.0;
    }
    // Without a trace also those that left replay are gone.
    done.rows_taken_back = if args.hard { rows.saturating_sub(mixed) } else { only };
    (done.rows_that_stay_as_something_else, done.forgotten) = (mixed, true);
    (done.generation, done.durable) = (adapter.generation(), adapter.is_durable());
    done.serves = serves(&adapter, &budget);
    print_facts(args.json, &done, text)
}

/// Held rows that are the class alone, and those that are something else beside.
fn held(adapter: &Adapter, class: &ClassName) -> (u64, u64) {
    let its = adapter.held_labels().map(|(_, labels, _)| labels).filter(|l| names(l, class));
    its.fold((0, 0), |(only, mixed), l| match l.positive().len() + l.negative().len() {
        1 => (only + 1, mixed),
        _ => (only, mixed + 1),
    })
}

fn refused(args: &Args, lost: &[ClassRows]) -> Error {
    Error::new(ErrorKind::Input, "forgetting it without a trace would lose rows of others, which left replay and cannot be summed again")
        .at(args.adapter.display())
        .expected("--yes")
        .found(line(lost))
        .cure("add --yes if they may go; without --hard nothing else is lost")
}

fn text(d: &Forgotten<'_>) -> String {
    let mut text = format!("forgot {}: took back {}", d.class, counted(d.rows_taken_back, "row"));
    if d.rows_that_stay_as_something_else > 0 {
        text += &format!("; {} that are something else beside stay that", counted(d.rows_that_stay_as_something_else, "row"));
    }
    match (d.hard, d.rows_retired) {
        (true, _) => text += &format!("; lost beside it: {}", line(&d.lost_beside)),
        (false, 0) => text += "; nothing of it is left",
        (false, n) => text += &format!("; {} that left replay stay counted, retired and without a name", counted(n, "row")),
    }
    format!("{text}; {}\n", acknowledged(d.generation, d.durable))
}
