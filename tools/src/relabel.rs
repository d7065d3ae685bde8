//! `wheatear relabel`: gives held rows other labels. The rows are those of `wheatear inspect --rows`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::{Access, Adapter, Durability};
use wheatear::{Error, ErrorKind, Result};

use crate::board::BoardArgs;
use crate::opened::{Found, acknowledged, open, serves};
use crate::output::{counted, print_facts};
use wheatear::learn::label_text::{self, class_line};

/// Give held rows other labels
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// Rows: ids as `inspect --rows` lists them, or ranges of them (12-20), in which rows that are not held are passed over
    #[arg(long = "row", required = true, value_name = "ID|FROM-TO", value_delimiter = ',')]
    rows: Vec<Rows>,
    #[command(flatten)]
    labels: Labels,
    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "relabel")]
    by: String,
    #[command(flatten)]
    board: BoardArgs,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = true)]
struct Labels {
    /// Classes that they are: wren, wren;robin or wren,robin; a name with ; or , or a leading ! stands in quotes ("x, y")
    #[arg(long, value_name = "CLASSES")]
    is: Vec<Classes>,
    /// Classes that they are not, in the same way
    #[arg(long, value_name = "CLASSES")]
    not: Vec<Classes>,
    /// They are background: no class
    #[arg(long, conflicts_with_all = ["is", "not"])]
    background: bool,
}

/// One row or a range of them.
#[derive(Debug, Clone, Copy)]
struct Rows {
    first: u64,
    last: u64,
}

impl std::str::FromStr for Rows {
    type Err = String;
    fn from_str(text: &str) -> Result<Rows, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let id = |t: &str| t.trim().parse::<u64>().ok();
        let range = id(first).zip(id(last)).filter(|(first, last)| first <= last);
        range.map(|(first, last)| Rows { first, last }).ok_or_else(|| "a row's id or a range of them, as in 7 or 12-20".to_owned())
    }
}

/// Class names as [`label_text::classes`] reads them.
#[derive(Debug, Clone)]
struct Classes(Vec<ClassName>);

impl std::str::FromStr for Classes {
    type Err = Error;
    fn from_str(text: &str) -> Result<Classes> {
        label_text::classes(text).map(Classes)
    }
}

impl Labels {
    fn set(&self) -> Result<LabelSet> {
        let all = |lists: &[Classes]| lists.iter().flat_map(|c| &c.0).cloned().collect();
        LabelSet::new(all(&self.is), all(&self.not))
    }
}

#[derive(Serialize)]
struct Relabelled<'a> {
    adapter: &'a PathBuf,
    rows: usize,
    not_held: u64,
    is: Vec<&'a ClassName>,
    not: Vec<&'a ClassName>,
    new_classes: Vec<&'a ClassName>,
    generation: u64,
    durable: bool,
    /// Generation of the head that serves.
    serves: Option<u64>,
    #[serde(flatten)]
    found: Found,
}

/// Runs `wheatear relabel`.
///
/// # Errors
/// `Input` when a row is not held, no row of a range is, or a class is both heard and not; `Limit` when a new class would
/// be one too many; those of opening and writing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let labels = args.labels.set()?;
    let mut adapter = open(&args.adapter, Access::Write)?;
    let budget = args.board.budget(&adapter)?;
    let (ids, not_held) = wanted(&adapter, &args.rows)?;
    let known: BTreeSet<ClassName> = adapter.tally().into_keys().flatten().collect();
    let ack = adapter.relabel(&ids, &labels, &args.by, Durability::Now)?;
    let named = || labels.positive().iter().chain(labels.negative());
    let relabelled = Relabelled {
        adapter: &args.adapter,
        rows: ids.len(),
        not_held,
        is: labels.positive().iter().collect(),
        not: labels.negative().iter().collect(),
        new_classes: named().filter(|c| !known.contains(*c)).collect(),
        generation: ack.generation,
        durable: ack.durable,
        serves: serves(&adapter, &budget),
        found: Found::of(&adapter),
    };
    print_facts(args.json, &relabelled, text)
}

/// Ids of the rows: those that are named one by one, and of each range those that are held; and how many of ranges are not.
fn wanted(adapter: &Adapter, rows: &[Rows]) -> Result<(Vec<u64>, u64)> {
    let held: BTreeSet<u64> = adapter.held_labels().map(|(id, ..)| id).collect();
    let (mut ids, mut not_held) = (BTreeSet::new(), 0);
    for range in rows {
        if range.first == range.last {
            ids.insert(range.first);
            continue;
        }
        let there: Vec<u64> = held.range(range.first..=range.last).copied().collect();
        if there.is_empty() {
            return Err(Error::new(ErrorKind::Input, "no row of a range is held: they left replay, were taken back, or never were")
                .at(adapter.folder().display())
                .found(format!("rows {}-{}", range.first, range.last))
                .cure("wheatear inspect --rows lists those that are"));
        }
        not_held += (range.last - range.first).saturating_add(1) - there.len() as u64;
        ids.extend(there);
    }
    Ok((ids.into_iter().collect(), not_held))
}

fn text(r: &Relabelled<'_>) -> String {
    let list = |classes: &[&ClassName]| class_line(classes.iter().copied());
    let now = match (r.is.is_empty(), r.not.is_empty()) {
        (true, true) => "background".to_owned(),
        (false, true) => list(&r.is),
        (true, false) => format!("not {}", list(&r.not)),
        (false, false) => format!("{}, not {}", list(&r.is), list(&r.not)),
    };
    let mut text = format!("relabelled {}: {now}; {}\n", counted(r.rows as u64, "row"), acknowledged(r.generation, r.durable));
    if r.not_held > 0 {
        text += &format!("passed over {} of the ranges that replay does not hold\n", counted(r.not_held, "row"));
    }
    if !r.new_classes.is_empty() {
        text += &format!("new classes: {}\n", list(&r.new_classes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_an_id_or_a_range() {
        let parsed = |text: &str| text.parse::<Rows>().map(|r| (r.first, r.last)).ok();
        assert_eq!([parsed("7"), parsed("12-20"), parsed("5-5")], [Some((7, 7)), Some((12, 20)), Some((5, 5))]);
        assert_eq!([parsed("20-12"), parsed(""), parsed("-3"), parsed("1-2-3"), parsed("x")], [None; 5]);
    }
}
