//! The head that is combined by evidence: slda and ridge, and ridge over random features where there are any, each with the shrinkage
//! or lambda for which the held rows speak, pooled
//! with the weights that explain those rows best. Every row is scored by members that did not learn its recording
//! ([`LeaveOut`]), so the weights and the probabilities come from rows that are new to them.
//!
//! All members are linear in the embedding or its features, so the pool is one [`LinearHead`]: predicting costs what one of them costs.

use std::borrow::Cow;

use crate::Result;
use crate::head::evidence::{Evidence, LAMBDAS, SHRINKAGES, Targets};
use crate::head::{Counted, Expanded, LeaveOut, LinearHead, Moments, Scores, SolvedHead, Unknown, pool};

/// What [`solve`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Auto {
    /// The pool, as one head with a temperature of 1.
    pub head: LinearHead,
    /// Its members, in the order of [`MEMBERS`], and `rf` last.
    pub members: Vec<Member>,
    /// What the rows say of the pool; none where no row could judge, and then the members weigh the same.
    pub evidence: Option<Evidence>,
    /// Tells windows of no class; none without evidence.
    pub unknown: Option<Unknown>,
    /// Scores of the pool on the rows that judged, row-major \[n, C\], and the classes of those rows.
    pub judged: Judged,
}

/// Rows that judged a pool: what it says of each without its recording.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Which of the rows that were given \[n\].
    pub rows: Vec<usize>,
    /// Scores of the pool \[n, C\]; its softmax is the probability of each class.
    pub z: Vec<f64>,
    /// The class that each row was learned as \[n\], in the order of the head's classes.
    pub class: Vec<usize>,
}

/// One head of a pool.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Its name.
    pub name: Cow<'static, str>,
    /// The shrinkage or lambda that was chosen.
    pub parameter: f64,
    /// Its share of the pool, 0 to 1.
    pub weight: f64,
    /// What its scores are divided by in the pool before they are weighed.
    pub temperature: f64,
    /// Mean over the classes of the share of rows that it knows; none without evidence.
    pub accuracy: Option<f64>,
    /// Mean over the classes of its cross entropy at that temperature; none without evidence.
    pub log_loss: Option<f64>,
}

/// The heads that are pooled, whether or not there are random features.
pub const MEMBERS: [SolvedHead; 2] = [SolvedHead::Slda, SolvedHead::Ridge];

/// Solves the members and pools them. `rows` are held rows of these moments, whole recordings where they are known; `background`
/// are latents \[D\] that nobody named. With `expanded`, statistics of random features of the same rows, ridge over them is the third.
///
/// # Errors
/// `Learn` when there is no class yet or the statistics cannot be solved; `Mismatch` for rows or features that are not of these
/// moments.
pub fn solve(moments: &Moments, rows: &[Counted<'_>], background: &[&[i8]], expanded: Option<&Expanded<'_>>) -> Result<Auto> {
    let mut members = Vec::new();
    let mut heads = Vec::new();
    let mut scores: Vec<Vec<f64>> = Vec::new();
    let (mut judged, mut unknown) = (Judged::default(), None);
    let features = expanded.map(|e| e.check(moments).and_then(|()| e.expand(rows))).transpose()?.unwrap_or_default();
    let mut sources: Vec<Source<'_>> = MEMBERS.map(|kind| Source { kind, moments, rows: rows.to_vec(), expanded: None }).into();
    sources.extend(expanded.map(|e| Source { kind: SolvedHead::Ridge, moments: e.moments(), rows: e.counted(rows, &features), expanded }));
    for Source { kind, moments, rows, expanded } in &sources {
        let kind = *kind;
        let chosen = choose(kind, moments, rows)?;
        let (head, evidence) = match chosen {
            Some(chosen) => {
                let head = chosen.solve(kind, moments)?;
                if kind == SolvedHead::Slda {
                    unknown = Some(Unknown::solve(moments, &chosen, background)?);
                }
                scores.push(chosen.scores.z.iter().map(|z| z / chosen.evidence.temperature).collect());
                (judged.rows, judged.class) = (chosen.judged, chosen.targets.class);
                (head, Some(chosen.evidence))
            }
            None => (kind.solve(moments)?, None),
        };
        members.push(Member {
            name: Cow::Borrowed(if expanded.is_some() { "rf" } else { kind.name() }),
            parameter: evidence.map_or(kind.default_parameter(), |e| e.parameter),
            weight: 1.0 / sources.len() as f64,
            temperature: f64::from(head.temperature),
            accuracy: evidence.map(|e| e.accuracy),
            log_loss: evidence.map(|e| e.log_loss),
        });
        heads.push(match expanded {
            Some(expanded) => expanded.over_embeddings(head),
            None => head,
        });
    }
    let mut weights = vec![1.0 / heads.len() as f64; heads.len()];
    let mut evidence = None;
    if !judged.rows.is_empty() {
        let recordings: Vec<u64> = judged.rows.iter().map(|i| rows[*i].recording).collect();
        let targets = Targets::new(judged.class.clone(), &recordings, heads[0].classes.len());
        weights = pool::weights(&scores, &targets);
        let total: f64 = weights.iter().sum();
        members.iter_mut().zip(&weights).for_each(|(m, w)| m.weight = w / total);
        judged.z = pool::combine(&scores, &weights);
        evidence = Some(Evidence {
            parameter: 0.0,
            accuracy: targets.accuracy(&judged.z),
            log_loss: targets.log_loss(&judged.z, 1.0),
            temperature: 1.0,
            rows: judged.rows.len(),
        });
    }
    Ok(Auto { head: LinearHead::pool("auto", &heads, &weights), members, evidence, unknown, judged })
}

/// What a member is solved from.
struct Source<'a> {
    kind: SolvedHead,
    moments: &'a Moments,
    rows: Vec<Counted<'a>>,
    /// Of the features, when these are what it is linear in.
    expanded: Option<&'a Expanded<'a>>,
}

/// The parameter of one head for which the rows speak, with the scores it was chosen by.
pub(crate) struct Chosen {
    pub(crate) evidence: Evidence,
    pub(crate) scores: Scores,
    judged: Vec<usize>,
    pub(crate) targets: Targets,
}

impl Chosen {
    pub(crate) fn solve(&self, kind: SolvedHead, moments: &Moments) -> Result<LinearHead> {
        let mut head = kind.solve_with(moments, self.evidence.parameter)?;
        head.temperature = self.evidence.temperature as f32;
        Ok(head)
    }
}

/// None where no row can be left out.
pub(crate) fn choose(kind: SolvedHead, moments: &Moments, rows: &[Counted<'_>]) -> Result<Option<Chosen>> {
    let (left_out, parameters): (_, &[f64]) = match kind {
        SolvedHead::Ncm => return Ok(None),
        SolvedHead::Slda => (LeaveOut::slda(moments)?, &SHRINKAGES),
        SolvedHead::Ridge => (LeaveOut::ridge(moments)?, &LAMBDAS),
    };
    let judged = left_out.judged(rows)?;
    let scored = left_out.scored();
    if judged.is_empty() || scored.len() < 2 {
        return Ok(None);
    }
    let class = judged.iter().filter_map(|i| scored.binary_search(&rows[*i].class).ok()).collect();
    let recordings: Vec<u64> = judged.iter().map(|i| rows[*i].recording).collect();
    let targets = Targets::new(class, &recordings, scored.len());
    let all = left_out.scores(rows, parameters)?;
    let best = all.into_iter().map(|s| (targets.weigh(&s), s)).min_by(|a, b| a.0.log_loss.total_cmp(&b.0.log_loss));
    Ok(best.map(|(evidence, scores)| Chosen { evidence, scores, judged, targets }))
}

#[cfg(test)]
#[path = "auto_tests.rs"]
mod tests;
