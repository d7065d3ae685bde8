//! What a person or a program may want to know of an adapter that learns live: after each label, one account of it.

use serde::Serialize;

use super::learning::Learning;
use crate::Result;
use crate::head::Moments;
use crate::learn::{BlockKind, ClassName};
use crate::monitor::Report;
use crate::monitor::prequential::Learned;

/// An adapter that learns, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Generation that was committed last.
    pub generation: u64,
    /// Rows that the statistics count under each class, as heard or as not heard.
    pub classes: Vec<ClassRows>,
    /// Rows that the statistics count, of classes or of none.
    pub rows: u64,
    /// Those of no class.
    pub background_rows: u64,
    /// Classes that it has room for.
    pub max_classes: u32,
    /// Why the head of the newest labels does not serve, if so.
    pub refused: Option<String>,
    /// Labelled windows that were answered before they were learned.
    pub answers: u64,
    /// What these answers say.
    pub report: Report,
}

/// Rows of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassRows {
    /// The class.
    pub class: ClassName,
    /// Its rows.
    pub rows: u64,
}

impl Facts {
    /// How `learning` stands.
    ///
    /// # Errors
    /// As [`crate::store::Adapter::block`].
    pub fn of(learning: &Learning) -> Result<Facts> {
        let (adapter, monitor) = (learning.adapter(), learning.monitor());
        let moments = adapter.block(BlockKind::Latents)?.map(|b| Moments::new(&b, &adapter.header().creation.scale)).transpose()?;
        let learned = moments.as_ref().map(|m| (m.mean_of_all(), m.spread()));
        let learned = learned.as_ref().map(|(mean, spread)| Learned { mean, spread: *spread });
        let mut tally = adapter.tally();
        let background_rows = tally.remove(&None).unwrap_or(0);
        Ok(Facts {
            generation: adapter.generation(),
            // A class that was forgotten is none that may be named.
            classes: tally
                .into_iter()
                .filter_map(|(class, rows)| Some(ClassRows { class: class.filter(|c| !c.is_retired())?, rows }))
                .collect(),
            rows: adapter.blocks().map(|(_, block)| block.rows()).sum(),
            background_rows,
            max_classes: adapter.header().creation.max_classes,
            refused: learning.standing().and_then(|s| s.verdict.as_ref()).filter(|v| !v.accepts()).map(ToString::to_string),
            answers: monitor.answers(),
            report: monitor.report(learned),
        })
    }
}
