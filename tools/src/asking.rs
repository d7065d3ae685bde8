//! Windows are answered before they are learned (prequential evaluation): what the head knows of new recordings of old classes.

use serde::Serialize;
use wheatear::Result;
use wheatear::head::LinearHead;
use wheatear::latent::Quantiser;
use wheatear::learn::{BlockKind, LabelSet};
use wheatear::learner::{self, Budget};
use wheatear::monitor::{Fall, Monitor};
use wheatear::store::Adapter;

use crate::embed::Latent;

/// What the head said of windows of classes that it knew.
#[derive(Debug, Default, Serialize)]
pub struct Asked {
    /// How many there were.
    pub windows: u64,
    /// Those that were named right.
    pub right: u64,
    /// Times when accuracy or confidence fell.
    falls: Vec<Fall>,
}

/// The head that served when learning began.
pub struct Asking {
    head: Option<LinearHead>,
    /// What is known of its answers.
    pub monitor: Monitor,
    x: Vec<f32>,
    scores: Vec<f32>,
}

impl Asking {
    /// With the head that `adapter` serves, where it has one, and what its monitor knows.
    ///
    /// # Errors
    /// As [`learner::stand`].
    pub fn begin(adapter: &Adapter, budget: &Budget) -> Result<Asking> {
        let head = if learner::can_serve(adapter)? { Some(learner::stand(adapter, budget)?.served.head) } else { None };
        let scores = vec![0.0; head.as_ref().map_or(0, |h| h.classes.len())];
        Ok(Asking {
            head,
            monitor: learner::monitor(adapter)?.map_or_else(|| Monitor::new(adapter.dim()), Ok)?,
            x: vec![0.0; adapter.dim()],
            scores,
        })
    }

    /// Asks the windows of one sound but the first `learned` that are not silent, and counts the answers in `asked`.
    ///
    /// # Errors
    /// As [`Monitor::ask`].
    pub fn ask(
        &mut self,
        labels: &LabelSet,
        windows: &[Option<Latent>],
        learned: usize,
        quantiser: &Quantiser,
        asked: &mut Asked,
    ) -> Result<()> {
        // Only one class can be named right.
        let single = labels.positive().first().filter(|_| labels.block_kind() == BlockKind::Latents);
        let (Some(head), Some(class)) = (&self.head, single) else { return Ok(()) };
        for window in windows.iter().flatten().skip(learned) {
            quantiser.dequantise(&window.latent, &mut self.x);
            let (answers, right) = (self.monitor.answers(), self.monitor.right());
            asked.falls.extend(self.monitor.ask(head, class, &self.x, &mut self.scores)?);
            asked.windows += self.monitor.answers() - answers;
            asked.right += self.monitor.right() - right;
        }
        Ok(())
    }
}
