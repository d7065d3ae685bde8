//! `wheatear repair`: makes a new adapter of what is whole of a wrecked one, which is only read.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::storage::DiskFolder;
use wheatear::store::{Access, Adapter, ClassRows, Damage, HeaderFound, Salvage, SalvageReport, Wrong};
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use crate::output::{counted, print_facts};
use crate::tally::anonymous;
use wheatear::service::backbone::pass_on_hint;

/// Make a new adapter of what is whole of a wrecked one, which is only read
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The wrecked adapter
    #[arg(value_name = "ADAPTER")]
    wreck: PathBuf,
    /// The new adapter: a folder that is not there or is empty
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Where no copy of its header is whole: a copy of the adapter, or another one of the same backbone
    #[arg(long, value_name = "ADAPTER")]
    like: Option<PathBuf>,
    /// Make it although something is lost
    #[arg(long)]
    yes: bool,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Repaired<'a> {
    wreck: &'a Path,
    /// The new adapter; none when nothing was made.
    adapter: Option<&'a Path>,
    /// True when nothing is lost.
    complete: bool,
    rows: Vec<Rows>,
    #[serde(flatten)]
    report: SalvageReport,
}

/// Rows of a class, of a retired one or of background.
#[derive(Serialize)]
struct Rows {
    /// `class`, `retired` or `background`.
    kind: &'static str,
    /// Name of the class; of a retired one the digits that stand for it, none for background.
    class: Option<String>,
    /// Rows that the statistics count.
    counted: u64,
    /// Of these, rows that replay holds.
    held: u64,
}

impl Rows {
    fn of(rows: &ClassRows) -> Rows {
        let (kind, class) = match &rows.class {
            None => ("background", None),
            Some(name) if name.is_retired() => ("retired", Some(anonymous(name))),
            Some(name) => ("class", Some(name.to_string())),
        };
        Rows { kind, class, counted: rows.counted, held: rows.held }
    }

    /// The name for a person.
    fn name(&self) -> &str {
        self.class.as_deref().filter(|_| self.kind == "class").unwrap_or(self.kind)
    }
}

/// Runs `wheatear repair`.
///
/// # Errors
/// `Corrupt` when nothing is whole; `Input` when something is lost and `--yes` is not given; those of making an adapter.
pub fn run(args: &Args) -> anyhow::Result<()> {
    check_outside(&args.out, &args.wreck)?;
    let like = args.like.as_deref().map(|like| Adapter::open(like, Access::Read)).transpose()?;
    let salvage = Salvage::read(&DiskFolder::new(&args.wreck), like.as_ref())?;
    let report = salvage.report().clone();
    let complete = report.is_complete();
    let rows = report.rows.iter().map(Rows::of).collect();
    let mut facts = Repaired { wreck: &args.wreck, adapter: None, complete, rows, report };
    if !complete && !args.yes {
        print_facts(args.json, &facts, text)?;
        return Err(Error::new(ErrorKind::Input, "not all of the adapter is whole: what the statistics and rows above lack would be lost")
            .at(args.wreck.display())
            .expected("--yes")
            .cure("look for a copy of it first; add --yes to make an adapter of what is whole")
            .into());
    }
    salvage.restore(&args.out, clock::random_bytes()?, u64::from_le_bytes(clock::random_bytes()?))?;
    pass_on_hint(&args.wreck, &args.out);
    facts.adapter = Some(&args.out);
    print_facts(args.json, &facts, text)
}

/// Refuses to write inside the wreck.
fn check_outside(out: &Path, wreck: &Path) -> Result<()> {
    let parent = out.ancestors().skip(1).find_map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.canonicalize().ok());
    match (parent, wreck.canonicalize()) {
        (Some(parent), Ok(wreck)) if parent.starts_with(&wreck) => {
            Err(Error::new(ErrorKind::Input, "the new adapter would lie in the wrecked one, which is only read")
                .at(out.display())
                .cure("choose another place"))
        }
        _ => Ok(()),
    }
}

fn text(f: &Repaired<'_>) -> String {
    let r = &f.report;
    let mut text = format!("{}\n", f.wreck.display());
    let mut line = |key: &str, value: String| text += &format!("  {key:<12} {value}\n");
    line("header", header(r.header).to_owned());
    line("checkpoint", r.checkpoint.map_or("none that is whole".to_owned(), |g| format!("of generation {g}")));
    let gaps: Vec<String> =
        r.missing.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first} to {last}") }).collect();
    let gaps = if gaps.is_empty() { String::new() } else { format!("; missing: {}", gaps.join(", ")) };
    line("journal", format!("{} up to generation {}{gaps}", counted(r.records, "whole record"), r.newest_generation));
    line("chunks", format!("{} with whole records, {} damaged", r.chunks, r.damaged_chunks));
    // What is cut off and was needed is there as damage of both kinds.
    let cut = |d: &Damage| r.damage.iter().any(|c| c.what == Wrong::CutShort && (&c.file, &c.bytes) == (&d.file, &d.bytes));
    let told = r.damage.iter().filter(|d| d.what != Wrong::Records || !cut(d));
    told.for_each(|d| line("damaged", d.to_string()));
    r.skipped.iter().for_each(|s| line("left out", format!("generation {}, {}: {}", s.generation, counted(s.rows, "row"), s.why)));
    line("statistics", exact(r));
    line("rows", format!("{} counted, {} of them in replay", r.counted_rows, r.held_rows));
    let width = f.rows.iter().map(|c| c.name().chars().count()).max().unwrap_or(0);
    for c in &f.rows {
        let gone = c.counted.saturating_sub(c.held);
        line("", format!("{:<width$} {:>6} counted {:>6} in replay {gone:>6} not", c.name(), c.counted, c.held));
    }
    r.unknown.iter().for_each(|u| line("unknown", u.clone()));
    line("made", f.adapter.map_or("nothing".to_owned(), |a| format!("{}, a new incarnation of the device", a.display())));
    text
}

fn header(found: HeaderFound) -> &'static str {
    match found {
        HeaderFound::Whole => "whole",
        HeaderFound::OneCopy => "one of its two copies is whole",
        HeaderFound::Rewritten => "that of a rewriting which was cut off",
        HeaderFound::Like => "that of the adapter given by --like",
    }
}

fn exact(r: &SalvageReport) -> String {
    match r.exact_to {
        Some(exact) if exact == r.newest_generation => format!("exact, to generation {exact}"),
        Some(exact) => format!("exact up to generation {exact}, then what is whole up to {}", r.newest_generation),
        None => "the sum of the rows that are whole".to_owned(),
    }
}
