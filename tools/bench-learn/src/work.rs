//! The pieces of work that are timed, with the multiply-adds each takes by its formula.

use std::cell::RefCell;

use anyhow::{Result, bail};
use wheatear::head::incremental::{Change, Incremental, Step};
use wheatear::head::{Head, HeadKind, LatentHead, Moments, SolvedHead, slda};
use wheatear::kernel;
use wheatear::kernel::scalar::Sign;
use wheatear::learn::Block;
use wheatear::learner::{self, Budget, Guard, LabelledRow, Served, Sources};

use crate::measure::{Figure, prepared, repeated};
use crate::rows::{self, Row, Rows};

/// Value of a latent step.
const STEP: f32 = 0.02;
const SHRINKAGE: f64 = slda::SHRINKAGE;
/// Labels that follow one another on one factor before it is made again.
const LABELS: usize = 32;
/// Rows that judge a tournament.
const JUDGES: usize = 400;

/// The rank-k update of the statistics.
pub fn gram(dim: usize, rows: usize) -> Result<Figure> {
    let (latents, _) = rows::flat(&Rows::new(dim, 5)?.take(rows));
    let mut gram = vec![0i64; dim * (dim + 1) / 2];
    let operations = (rows * dim * (dim + 1) / 2) as f64;
    repeated("rank-k update", (dim, rows), operations, || {
        kernel::gram_update(&latents, dim, Sign::Add, &mut gram);
        Ok(())
    })
}

/// From a label to a head that can be used, from the sums in integers on; the label itself is in them.
pub fn label_to_head(dim: usize, classes: usize) -> Result<Vec<Figure>> {
    let learned = Learned::new(dim, classes, 20 * classes)?;
    let (d, c) = (dim as f64, classes as f64);
    let scatter = c * d * d / 2.0;
    let factor = d.powi(3) / 6.0;
    let mut figures = Vec::new();
    for (kind, operations) in [(SolvedHead::Slda, scatter + factor + c * d * d), (SolvedHead::Ridge, scatter + factor + 2.0 * c * d * d)] {
        let what = format!("{}, full solve", kind.name());
        figures.push(repeated(&what, (dim, classes), operations, || Ok(kind.solve(&learned.moments()?)?))?);
    }
    figures.push(learned.incremental()?);
    Ok(figures)
}

/// Scores of a latent, of its values, and how far it is from all classes.
pub fn window(dim: usize, classes: usize) -> Result<Vec<Figure>> {
    let learned = Learned::new(dim, classes, 4 * classes)?;
    let served = learned.serve(&learned.judges(100))?;
    let latents = LatentHead::new(&served.head, &learned.scale);
    let latent = &learned.rows[0].latent;
    let x: Vec<f32> = latent.iter().map(|q| f32::from(*q) * STEP).collect();
    let (mut z, shape) = (vec![0.0; classes], (dim, classes));
    let dense = (dim * classes) as f64;
    let mut figures = vec![
        repeated("probabilities of a latent", shape, dense, || {
            latents.probabilities(latent, &mut z);
            Ok(())
        })?,
        repeated("probabilities of its values", shape, dense, || {
            served.head.probabilities(&x, &mut z);
            Ok(())
        })?,
    ];
    let Some(unknown) = &served.unknown else { bail!("no rows could judge what is unknown") };
    let triangle = (dim * (dim + 1) / 2) as f64;
    figures.push(repeated("unknown score", shape, dense + triangle, || Ok(unknown.distance(&x, &mut z)))?);
    Ok(figures)
}

/// slda and ridge with all their parameters judged by [`JUDGES`] rows, each left out, and what is unknown.
pub fn tournament(dim: usize, classes: usize) -> Result<Figure> {
    let learned = Learned::new(dim, classes, (4 * classes).max(2 * JUDGES))?;
    let judges = learned.judges(JUDGES);
    let (d, c) = (dim as f64, classes as f64);
    // Two eigendecompositions of about 4.5 D^3 multiply-adds, then of each row the scores of nine parameters in two heads.
    let operations = 9.0 * d.powi(3) + JUDGES as f64 * 18.0 * 4.0 * c * d;
    repeated("tournament", (dim, classes), operations, || learned.serve(&judges))
}

struct Learned {
    dim: usize,
    classes: usize,
    rows: Vec<Row>,
    block: Block,
    scale: Vec<f32>,
    stream: RefCell<Rows>,
}

impl Learned {
    fn new(dim: usize, classes: usize, count: usize) -> Result<Learned> {
        let mut stream = Rows::new(dim, classes)?;
        // At least so many that the scatter hardly grows while labels follow one another.
        let rows = stream.take(count.max(1000));
        let block = rows::block(dim, &rows)?;
        Ok(Learned { dim, classes, rows, block, scale: vec![STEP; dim], stream: RefCell::new(stream) })
    }

    fn moments(&self) -> Result<Moments> {
        Ok(Moments::new(&self.block, &self.scale)?)
    }

    fn serve(&self, rows: &[LabelledRow]) -> Result<Served> {
        let sources = Sources { block: &self.block, scale: &self.scale, rows, background: &[], expanded: None };
        Ok(learner::solve(HeadKind::Auto, Guard::Off, sources, &Budget { memory_mib: 65_536, ..Budget::default() })?)
    }

    fn judges(&self, count: usize) -> Vec<LabelledRow> {
        let labelled = |(n, row): (usize, &Row)| LabelledRow {
            id: n as u64,
            latent: row.latent.clone(),
            class: row.class.clone(),
            recording: n as u64,
        };
        self.rows.iter().enumerate().take(count).map(labelled).collect()
    }

    fn incremental(&self) -> Result<Figure> {
        let state = RefCell::new((self.block.clone(), Incremental::solve(&self.moments()?, SHRINKAGE)?, 0));
        let (d, c) = (self.dim as f64, self.classes as f64);
        let operations = 3.0 * d * d + (4.0 * c + 2.0 * LABELS as f64) * d;
        let label = || {
            let mut state = state.borrow_mut();
            if state.2 == LABELS {
                state.1 = Incremental::solve(&Moments::new(&state.0, &self.scale)?, SHRINKAGE)?;
                state.2 = 0;
            }
            state.2 += 1;
            let row = self.stream.borrow_mut().take(1).remove(0);
            let (latents, labels) = rows::flat(std::slice::from_ref(&row));
            state.0.add_chunk(&latents, &labels)?;
            Ok(row)
        };
        prepared("slda, one row, incremental", (self.dim, self.classes), operations, label, |row| {
            let (block, head, _) = &mut *state.borrow_mut();
            let moments = Moments::new(block, &self.scale)?;
            let change = Change { sign: Sign::Add, latent: &row.latent, class: &row.class };
            match head.update(&moments, &[change])? {
                Step::Updated => Ok(head.head()?),
                Step::Solved(reason) => bail!("the head was solved anew: {reason:?}"),
            }
        })
    }
}
