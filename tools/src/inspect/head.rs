//! The head that an adapter serves: what it is made of, what the held rows say of it, and the labels it does not believe.

use std::path::Path;

use serde::Serialize;
use wheatear::head::HeadKind;
use wheatear::head::auto::Member;
use wheatear::learner::{self, Doubtful};

use crate::opened::reading;
use crate::output::print_facts;

#[derive(Serialize)]
struct Facts {
    generation: u64,
    /// The heads that are pooled, each with its weight, 0 to 1.
    members: Vec<Member>,
    /// Rows that judged it, each without its recording; none where nothing could be left out, and then no accuracy either.
    judging_rows: usize,
    /// Mean over the classes of the share of these rows that it knows.
    accuracy: Option<f64>,
    /// Mean over the classes of its cross entropy on them.
    log_loss: Option<f64>,
    /// True when it tells windows of no known class.
    tells_unknown: bool,
    /// Rows whose label is probably wrong, which it was solved without.
    doubtful: Vec<Doubtful>,
}

/// Shows the head of the adapter in `folder`.
///
/// # Errors
/// `Learn` when nothing was learned yet; those of opening and reading.
pub fn run(folder: &Path, json: bool) -> anyhow::Result<()> {
    let facts = reading(folder, |adapter| {
        let served = learner::serve(adapter, HeadKind::Auto)?;
        Ok(Facts {
            generation: adapter.generation(),
            members: served.members,
            judging_rows: served.evidence.map_or(0, |e| e.rows),
            accuracy: served.evidence.map(|e| e.accuracy),
            log_loss: served.evidence.map(|e| e.log_loss),
            tells_unknown: served.unknown.is_some(),
            doubtful: served.doubtful,
        })
    })?;
    print_facts(json, &facts, table)
}

fn table(f: &Facts) -> String {
    let mut text = format!("auto at generation {}\n", f.generation);
    match f.accuracy.zip(f.log_loss) {
        Some((accuracy, loss)) => {
            let rows = f.judging_rows;
            text += &format!("  {rows} rows judge it without their recording: accuracy {accuracy:.3}, cross entropy {loss:.3}\n");
        }
        None => text += "  no row can judge it: a class needs two recordings, and there must be two classes\n",
    }
    for m in &f.members {
        let alone = m.accuracy.zip(m.log_loss).map_or(String::new(), |(a, l)| format!(", alone {a:.3} and {l:.3}"));
        text += &format!("  {:<6} weight {:.2}, {} {}{alone}\n", m.name, m.weight, parameter(m.name), m.parameter);
    }
    text += if f.tells_unknown { "  tells windows of no known class\n" } else { "  cannot tell windows of no known class yet\n" };
    for d in &f.doubtful {
        text += &format!("  row {}: said to be {}, sounds like {}; wrong with probability {:.2}\n", d.id, d.said, d.sounds_like, d.wrong);
    }
    if !f.doubtful.is_empty() {
        text += "  the head was solved without these rows; correct them with wheatear relabel, or take them back with wheatear undo\n";
    }
    text
}

fn parameter(head: &str) -> &'static str {
    if head == "slda" { "shrinkage" } else { "lambda" }
}
