//! Answers: what the head that serves says of a window. Between construction and drop nothing allocates.

use super::Served;
use crate::head::{Head, LatentHead, Presence, Unknown, argmax};
use crate::latent::Quantiser;
use crate::learn::ClassName;

/// Classes of a window that are kept.
pub const BEST: usize = 3;
/// Most classes that a window tells of as present.
pub const PRESENT: usize = 8;
/// Stands where there are no more classes.
pub const NO_CLASS: (usize, f32) = (usize::MAX, 0.0);

/// What was said of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The most probable classes among [`Judge::classes`] with their probabilities, the surest first; [`NO_CLASS`] behind the last.
    pub best: [(usize, f32); BEST],
    /// Of [`Judge::present_classes`] those most probably present, in the same way.
    pub present: [(usize, f32); PRESENT],
    /// Probability that it is of no known class, where the head can tell.
    pub unknown: Option<f32>,
}

/// A head at work.
pub struct Judge {
    head: LatentHead,
    classes: Vec<ClassName>,
    unknown: Option<Unknown>,
    presence: Option<Presence>,
    quantiser: Quantiser,
    x: Vec<f32>,
    p: Vec<f32>,
    present: Vec<f32>,
}

impl Judge {
    /// With `served`, over latents of `quantiser`.
    pub fn new(served: &Served, quantiser: &Quantiser) -> Judge {
        let Served { head, unknown, presence, .. } = served;
        Judge {
            head: LatentHead::new(head, quantiser.scale()),
            classes: head.classes().to_vec(),
            x: vec![0.0; quantiser.dim()],
            p: vec![0.0; head.classes().len()],
            present: vec![0.0; presence.as_ref().map_or(0, |p| p.classes().len())],
            unknown: unknown.clone(),
            presence: presence.clone(),
            quantiser: quantiser.clone(),
        }
    }

    /// Classes one of which a window is, in canonical order \[C\].
    pub fn classes(&self) -> &[ClassName] {
        &self.classes
    }

    /// Classes whose presence is told one by one; none where only rows of one label were learned.
    pub fn present_classes(&self) -> Option<&[ClassName]> {
        self.presence.as_ref().filter(|p| p.present.is_some()).map(Presence::classes)
    }

    /// What `latent` \[D\] is. What was learned were latents, so what is judged are latents: the same window gives the same answer.
    ///
    /// # Panics
    /// When it has another dimension.
    pub fn judge(&mut self, latent: &[i8]) -> Answer {
        if self.unknown.is_some() || self.presence.is_some() {
            self.quantiser.dequantise(latent, &mut self.x);
        }
        let mut unknown = self.unknown.as_ref().map(|unknown| unknown.probability(&self.x, &mut self.p));
        self.head.probabilities(latent, &mut self.p);
        if let Some(presence) = &self.presence {
            presence.veto(&self.x, &self.classes, &mut self.p);
            presence.probabilities(&self.x, &mut self.present);
            unknown = Some(Presence::unknown(unknown.unwrap_or(0.0), &self.p, &self.present));
        }
        Answer { best: highest(&mut self.p), present: highest(&mut self.present), unknown }
    }
}

/// The N most probable classes, which `p` loses.
fn highest<const N: usize>(p: &mut [f32]) -> [(usize, f32); N] {
    let mut best = [NO_CLASS; N];
    for place in best.iter_mut().take(p.len()) {
        let c = argmax(p);
        *place = (c, p[c]);
        p[c] = -1.0;
    }
    best
}
