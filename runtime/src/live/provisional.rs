//! A head for the time until the one of the newest label is solved and tried: slda, one row on from the head that serves
//! ([`Incremental`]), with that head's shrinkage, temperature and sense of what is unknown. It is for boards on which the tournament takes
//! longer than a hop; nothing has tried it, and it serves until the tournament is over.

use std::collections::BTreeSet;

use crate::Result;
use crate::head::incremental::Change;
use crate::head::{Incremental, Moments, SolvedHead};
use crate::kernel::scalar::Sign;
use crate::learn::{BlockKind, ClassName, LabelSet};
use crate::learner::{Served, Standing};
use crate::store::Adapter;

use super::learning::Lesson;

/// An slda head that follows labels of one class.
pub struct Provisional {
    incremental: Incremental,
    /// Rows whose labels the head that serves does not believe.
    doubtful: Vec<(Vec<i8>, LabelSet)>,
    temperature: f32,
    served: Served,
}

impl Provisional {
    /// What one takes, nearly all of it its factor, with latents \[D\] of D = `dim`.
    pub(super) fn len_bytes(dim: usize) -> usize {
        dim * dim * size_of::<f64>()
    }

    /// From what `adapter` knows, whose head is `standing`; none where that is not the newest, or holds no slda that evidence chose.
    ///
    /// # Errors
    /// As [`Incremental::solve`].
    pub fn new(adapter: &Adapter, standing: &Standing) -> Result<Option<Provisional>> {
        let served = &standing.served;
        let slda = served.members.iter().find(|m| m.name == SolvedHead::Slda.name() && m.accuracy.is_some());
        // What is present is told class by class, by a head that nothing here follows.
        let tells_presence = served.presence.as_ref().is_some_and(|p| p.present.is_some());
        let (Some(slda), false) = (slda, standing.is_refused() || tells_presence) else { return Ok(None) };
        let doubtful = doubtful(adapter, served)?;
        let Some(moments) = moments(adapter, &doubtful)? else { return Ok(None) };
        let incremental = Incremental::solve(&moments, slda.parameter)?;
        Ok(Some(Provisional { incremental, doubtful, temperature: slda.temperature as f32, served: served.clone() }))
    }

    /// The head once `adapter` has learned `lesson`; none where that is not of one class.
    ///
    /// # Errors
    /// As [`Incremental::update`].
    pub fn follow(&mut self, adapter: &Adapter, lesson: &Lesson) -> Result<Option<Served>> {
        let single = lesson.labels.positive().first().filter(|_| lesson.labels.block_kind() == BlockKind::Latents);
        let (Some(class), Some(moments)) = (single, moments(adapter, &self.doubtful)?) else { return Ok(None) };
        let changes: Vec<Change<'_>> =
            lesson.rows.iter().map(|row| Change { sign: Sign::Add, latent: &row.latent, class: class as &ClassName }).collect();
        self.incremental.update(&moments, &changes)?;
        let head = self.incremental.head()?;
        let unknown = self.served.unknown.as_ref().map(|unknown| unknown.with_head(head.clone()));
        let mut served = Served { unknown, ..self.served.clone() };
        served.head = crate::head::LinearHead { temperature: self.temperature, ..head };
        Ok(Some(served))
    }
}

fn moments(adapter: &Adapter, doubtful: &[(Vec<i8>, LabelSet)]) -> Result<Option<Moments>> {
    let Some(mut block) = adapter.block(BlockKind::Latents)?.filter(|b| b.rows() > doubtful.len() as u64) else { return Ok(None) };
    doubtful.iter().try_for_each(|(latent, labels)| block.subtract(latent, labels))?;
    Moments::new(&block, &adapter.header().creation.scale).map(Some)
}

/// The rows that `served` was solved without.
fn doubtful(adapter: &Adapter, served: &Served) -> Result<Vec<(Vec<i8>, LabelSet)>> {
    let ids: BTreeSet<u64> = served.doubtful.iter().map(|d| d.id).collect();
    let mut rows = Vec::new();
    if !ids.is_empty() {
        adapter.rows(|learned| {
            for ((meta, labels), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(adapter.dim())) {
                if ids.contains(&meta.id) {
                    rows.push((latent.to_vec(), labels.clone()));
                }
            }
            Ok(())
        })?;
    }
    Ok(rows)
}
