//! Times of one piece of work, taken again and again on one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

/// Runs of one piece of work, and for how long no more are begun.
const RUNS: (usize, usize) = (3, 201);
const ENOUGH: Duration = Duration::from_millis(600);

/// One line of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub what: String,
    pub dim: usize,
    /// Classes, or rows of a rank-k update.
    pub count: usize,
    pub median_us: f64,
    pub least_us: f64,
    pub runs: usize,
    /// Multiply-adds.
    pub operations: f64,
}

/// Times `work` until it was run often enough; `prepare` is not timed.
pub fn prepared<P, R>(
    what: &str,
    (dim, count): (usize, usize),
    operations: f64,
    mut prepare: impl FnMut() -> Result<P>,
    mut work: impl FnMut(P) -> Result<R>,
) -> Result<Figure> {
    black_box(work(prepare()?)?);
    let begun = Instant::now();
    let mut times_us = Vec::new();
    while times_us.len() < RUNS.0 || (times_us.len() < RUNS.1 && begun.elapsed() < ENOUGH) {
        let prepared = prepare()?;
        let started = Instant::now();
        black_box(work(prepared)?);
        times_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times_us.sort_by(f64::total_cmp);
    Ok(Figure {
        what: what.into(),
        dim,
        count,
        median_us: times_us[times_us.len() / 2],
        least_us: times_us[0],
        runs: times_us.len(),
        operations,
    })
}

/// Times `work`.
pub fn repeated<R>(what: &str, shape: (usize, usize), operations: f64, mut work: impl FnMut() -> Result<R>) -> Result<Figure> {
    prepared(what, shape, operations, || Ok(()), |()| work())
}
