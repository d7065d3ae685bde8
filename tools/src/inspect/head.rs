//! The head that an adapter serves: what it is made of, what the held rows say of it, and the labels it does not believe.

use std::path::Path;

use serde::Serialize;
use wheatear::Result;
use wheatear::head::auto::Member;
use wheatear::head::{LinearHead, Moments, Presence};
use wheatear::learn::{BlockKind, ClassName};
use wheatear::learner::{self, Doubtful, Standing, Verdict};
use wheatear::monitor::prequential::Learned;
use wheatear::monitor::{Fall, Falling, Report};
use wheatear::store::Adapter;

use crate::board::BoardArgs;
use crate::opened::reading;
use crate::output::print_facts;

#[derive(Serialize)]
struct Facts {
    generation: u64,
    /// Generation of the head that serves.
    serves: u64,
    /// What the guard said of the newest head, where there was one before; a refused one does not serve.
    verdict: Option<Verdict>,
    /// What labelled windows said before they were learned; none before the first.
    monitor: Option<Monitored>,
    /// The heads that are pooled, each with its weight, 0 to 1.
    members: Vec<Member>,
    /// Rows that judged it, each without its recording; none where nothing could be left out, and then no accuracy either.
    judging_rows: usize,
    /// Why none could, and what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    unjudged: Option<String>,
    /// Mean over the classes of the share of these rows that it knows.
    accuracy: Option<f64>,
    /// Mean over the classes of its cross entropy on them.
    log_loss: Option<f64>,
    /// True when it tells windows of no known class.
    tells_unknown: bool,
    /// Classes whose presence is told one by one, from rows of several labels.
    present: Vec<ClassName>,
    /// Classes that something was said not to be.
    vetoed: Vec<ClassName>,
    /// Rows whose label is probably wrong, which it was solved without.
    doubtful: Vec<Doubtful>,
}

#[derive(Serialize)]
struct Monitored {
    /// Windows of known classes that the head answered before it learned them, those whose labels were taken back or changed since among
    /// them.
    answers: u64,
    #[serde(flatten)]
    report: Report,
    last_fall: Option<Fall>,
}

/// Shows the head of the adapter in `folder`.
///
/// # Errors
/// `Learn` when nothing was learned yet; those of opening and reading.
pub fn run(folder: &Path, board: &BoardArgs, json: bool) -> anyhow::Result<()> {
    let facts = reading(folder, |adapter| {
        let Standing { served, generation: serves, verdict, .. } = learner::stand(adapter, &board.budget(adapter)?)?;
        let unjudged = served.unjudged(adapter);
        Ok(Facts {
            unjudged,
            generation: adapter.generation(),
            serves,
            verdict,
            monitor: monitored(adapter)?,
            members: served.members,
            judging_rows: served.evidence.map_or(0, |e| e.rows),
            accuracy: served.evidence.map(|e| e.accuracy),
            log_loss: served.evidence.map(|e| e.log_loss),
            tells_unknown: served.unknown.is_some(),
            present: classes_of(&served.presence, |p| &p.present),
            vetoed: classes_of(&served.presence, |p| &p.vetoes),
            doubtful: served.doubtful,
        })
    })?;
    print_facts(json, &facts, table)
}

fn classes_of(presence: &Option<Presence>, of: impl Fn(&Presence) -> &Option<LinearHead>) -> Vec<ClassName> {
    presence.iter().filter_map(|p| of(p).as_ref()).flat_map(|head| head.classes.clone()).collect()
}

fn monitored(adapter: &Adapter) -> Result<Option<Monitored>> {
    let Some(monitor) = learner::monitor(adapter)? else { return Ok(None) };
    let moments = adapter.block(BlockKind::Latents)?.map(|b| Moments::new(&b, &adapter.header().creation.scale)).transpose()?;
    let learned = moments.as_ref().map(|m| (m.mean_of_all(), m.spread()));
    let learned = learned.as_ref().map(|(mean, spread)| Learned { mean, spread: *spread });
    Ok(Some(Monitored { answers: monitor.answers(), report: monitor.report(learned), last_fall: monitor.last_fall() }))
}

fn table(f: &Facts) -> String {
    let mut text = format!("auto at generation {}\n", f.serves);
    match &f.verdict {
        Some(v) if !v.accepts() => text += &format!("  that of generation {} was refused: {v}\n", f.generation),
        Some(v) => text += &format!("  tried against the head before: {v}\n"),
        None => {}
    }
    match f.accuracy.zip(f.log_loss) {
        Some((accuracy, loss)) => {
            let rows = f.judging_rows;
            text += &format!("  {rows} rows judge it without their recording: accuracy {accuracy:.3}, cross entropy {loss:.3}\n");
        }
        None => text += &format!("  {}\n", f.unjudged.as_deref().unwrap_or("no held row can judge it")),
    }
    for m in &f.members {
        let alone = m.accuracy.zip(m.log_loss).map_or(String::new(), |(a, l)| format!(", alone {a:.3} and {l:.3}"));
        text += &format!("  {:<6} weight {:.2}, {} {}{alone}\n", m.name, m.weight, parameter(&m.name), m.parameter);
    }
    if let Some(m) = f.monitor.as_ref().filter(|m| m.answers > 0) {
        let share = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.3}"));
        text += &format!(
            "  {} windows before they were learned (also what was undone since), the last 200 above all: accuracy {}, ",
            m.answers,
            share(m.report.accuracy)
        );
        text += &format!("confidence {}, calibration error {}, ", share(m.report.confidence), share(m.report.ece));
        text += &format!("forgetting {}, embeddings {} spreads away\n", share(m.report.forgetting), share(m.report.drift));
        if let Some(Fall { of, change, at_answer, .. }) = m.last_fall {
            let of = if of == Falling::Accuracy { "accuracy" } else { "confidence" };
            text += &format!("  {of} fell from {:.3} to {:.3}, told at window {at_answer}\n", change.before, change.after);
        }
    }
    text += if f.tells_unknown { "  tells windows of no known class\n" } else { "  cannot tell windows of no known class yet\n" };
    let list = |classes: &[ClassName]| classes.iter().map(ClassName::as_str).collect::<Vec<_>>().join(", ");
    if !f.present.is_empty() {
        text += &format!("  tells each by itself, since several were heard at once: {}\n", list(&f.present));
    }
    if !f.vetoed.is_empty() {
        text += &format!("  knows what is not: {}\n", list(&f.vetoed));
    }
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
