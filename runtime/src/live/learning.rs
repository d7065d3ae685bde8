//! Learning from labels while sound goes on: each is committed, then a new head is solved and tried, and serves from the next window on.
//!
//! The head that
//! serves and what the monitor knows are written with a checkpoint now and then, and when learning ends; labels are in the journal
//! before they are acknowledged.

use crate::Result;
use crate::learn::{BlockKind, LabelSet};
use crate::learner::{self, Budget, Served, Standing};
use crate::monitor::{Fall, Monitor};
use crate::store::{Acknowledgement, Adapter, Batch, Durability, NewRow, RowFlags};
use crate::units::Moment;

use super::provisional::Provisional;

/// Labels between two checkpoints.
const LABELS_PER_CHECKPOINT: u32 = 64;

/// A window to be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LessonRow {
    /// The latent \[D\].
    pub latent: Vec<i8>,
    /// From the time of the label to the begin of the window, in ns.
    pub time_delta_ns: i64,
    /// Its first sample at the backbone's rate, since the last gap in the sound.
    pub start_sample: u64,
}

/// What a person said of windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// What they are, and are not; nothing at all is background.
    pub labels: LabelSet,
    /// The windows.
    pub rows: Vec<LessonRow>,
    /// Whether the label is of a span, of which not every window need have it.
    pub is_weak: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Moment,
}

/// An adapter that learns.
pub struct Learning {
    adapter: Adapter,
    monitor: Monitor,
    standing: Option<Standing>,
    budget: Budget,
    graph: u64,
    since_checkpoint: u32,
    bridge: Bridge,
    x: Vec<f32>,
    scores: Vec<f32>,
}

/// What bridges the time to a head, or the memory that it will take: a box that becomes slow does not become larger, too.
enum Bridge {
    Room(#[expect(dead_code, reason = "held, and never read")] Vec<u8>),
    Ready(Box<Provisional>),
}

impl Bridge {
    /// For latents \[D\] of D = `dim`.
    fn room(dim: usize) -> Bridge {
        // Not zeros, which the system would give only as they are written.
        Bridge::Room(vec![1; Provisional::len_bytes(dim)])
    }
}

impl Learning {
    /// With `adapter`, opened for writing, whose backbone is `graph` (see [`Batch::graph`]), at no more than `budget`.
    ///
    /// # Errors
    /// As [`learner::stand`].
    pub fn new(adapter: Adapter, graph: u64, budget: Budget) -> Result<Learning> {
        let monitor = learner::monitor(&adapter)?.map_or_else(|| Monitor::new(adapter.dim()), Ok)?;
        let standing = if learner::can_serve(&adapter)? { Some(learner::stand(&adapter, &budget)?) } else { None };
        let (bridge, x) = (Bridge::room(adapter.dim()), vec![0.0; adapter.dim()]);
        Ok(Learning { adapter, monitor, standing, budget, graph, since_checkpoint: 0, bridge, x, scores: Vec::new() })
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The head that serves; none when there is nothing to solve one from.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// What labelled windows say of the head.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Commits a lesson; the head is as before until [`Learning::follow`]. Tells when accuracy or confidence fell.
    ///
    /// # Errors
    /// As [`Adapter::learn`].
    pub fn learn(&mut self, lesson: &Lesson) -> Result<(Acknowledgement, Vec<Fall>)> {
        let flags = if lesson.is_weak { RowFlags::WEAK } else { RowFlags::default() };
        let mut rows = Vec::with_capacity(lesson.rows.len());
        for LessonRow { latent, time_delta_ns, start_sample } in &lesson.rows {
            let (time_delta_ns, start_sample) = (*time_delta_ns, *start_sample);
            rows.push(NewRow { latent, labels: &lesson.labels, time_delta_ns, start_sample, flags });
        }
        let origin = self.adapter.origin();
        let batch = Batch { origin, by: lesson.by.clone(), time: lesson.at, graph: self.graph, source: 0, source_complete: true };
        let acknowledged = self.adapter.learn(&batch, &rows, Durability::Now)?;
        self.since_checkpoint += 1;
        // The label is learned, whatever becomes of the question.
        let falls = self.ask(lesson).unwrap_or_else(|e| {
            log::warn!("the monitor cannot be asked: {e}");
            Vec::new()
        });
        Ok((acknowledged, falls))
    }

    /// Lets the head that served answer the windows of one class.
    fn ask(&mut self, lesson: &Lesson) -> Result<Vec<Fall>> {
        let single = lesson.labels.positive().first().filter(|_| lesson.labels.block_kind() == BlockKind::Latents);
        let (Some(standing), Some(class)) = (&self.standing, single) else { return Ok(Vec::new()) };
        let (head, mut falls) = (&standing.served.head, Vec::new());
        self.scores.resize(head.classes.len(), 0.0);
        let scale = &self.adapter.header().creation.scale;
        for row in &lesson.rows {
            self.x.iter_mut().zip(row.latent.iter().zip(scale)).for_each(|(x, (q, s))| *x = f32::from(*q) * s);
            falls.extend(self.monitor.ask(head, class, &self.x, &mut self.scores)?);
        }
        Ok(falls)
    }

    /// A head that knows the lesson, which was learned just now, until [`Learning::follow`] has solved and tried one; none where
    /// [`Learning::prepare`] did not make ready for it, or the lesson is not of one class.
    ///
    /// # Errors
    /// As [`Provisional::follow`].
    pub fn provisional(&mut self, lesson: &Lesson) -> Result<Option<Served>> {
        match &mut self.bridge {
            Bridge::Room(_) => Ok(None),
            Bridge::Ready(provisional) => provisional.follow(&self.adapter, lesson),
        }
    }

    /// Makes ready for the next [`Learning::provisional`].
    ///
    /// # Errors
    /// As [`Provisional::new`].
    pub fn prepare(&mut self) -> Result<()> {
        // Given back first: the new one goes where it was.
        self.bridge = Bridge::Room(Vec::new());
        let ready = self.standing.as_ref().map_or(Ok(None), |standing| Provisional::new(&self.adapter, standing));
        let room = || Bridge::room(self.adapter.dim());
        let (bridge, done) = match ready {
            Ok(Some(provisional)) => (Bridge::Ready(Box::new(provisional)), Ok(())),
            Ok(None) => (room(), Ok(())),
            Err(e) => (room(), Err(e)),
        };
        self.bridge = bridge;
        done
    }

    /// What learning may cost.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes the newest `labels` labels back; returns how many rows that were.
    ///
    /// # Errors
    /// As [`Adapter::undo`].
    pub fn undo(&mut self, labels: usize) -> Result<(u64, Acknowledgement)> {
        let undone = self.adapter.undo(labels, Durability::Now)?;
        self.bridge = Bridge::room(self.adapter.dim());
        self.since_checkpoint += 1;
        Ok(undone)
    }

    /// Solves and tries the head of what was learned; whether another one serves now, or the newest was refused.
    ///
    /// # Errors
    /// As [`learner::stand`]; the head before serves on.
    pub fn follow(&mut self) -> Result<bool> {
        if !learner::can_serve(&self.adapter)? {
            return Ok(self.standing.take().is_some());
        }
        let before = self.standing.as_ref().map(|s| (s.generation, s.is_refused()));
        let standing = match self.standing.take() {
            // A copy, so that an error leaves the head before.
            Some(standing) => standing.clone().follow(&self.adapter, &self.budget).inspect_err(|_| self.standing = Some(standing))?,
            None => learner::newest(&self.adapter, &self.budget)?,
        };
        let now = (standing.generation, standing.is_refused());
        // The first head, and a refusal, must outlive a power cut.
        if before.is_none_or(|(_, was_refused)| now.1 && !was_refused) {
            self.since_checkpoint = LABELS_PER_CHECKPOINT;
        }
        self.standing = Some(standing);
        Ok(before != Some(now))
    }

    /// Writes a checkpoint where enough was learned since the last.
    ///
    /// # Errors
    /// As [`learner::keep`].
    pub fn rest(&mut self) -> Result<()> {
        if self.since_checkpoint >= LABELS_PER_CHECKPOINT { self.close() } else { Ok(()) }
    }

    /// Makes everything durable, and keeps the head that serves and what the monitor knows.
    ///
    /// # Errors
    /// As [`learner::keep`].
    pub fn close(&mut self) -> Result<()> {
        self.since_checkpoint = 0;
        if !learner::can_serve(&self.adapter)? {
            return self.adapter.checkpoint();
        }
        let from = self.standing.clone();
        self.standing = Some(learner::keep(&mut self.adapter, &self.monitor, &self.budget, from)?);
        Ok(())
    }
}
