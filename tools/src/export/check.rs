//! Does a cut or converted graph still give what the original gives? Both are run on the same inputs and compared.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wheatear::backbone::probe::{Array, Probe};
use wheatear::{Error, ErrorKind, Result};

/// Largest relative difference that a cut may make in f32.
pub const CUT_TOLERANCE: f64 = 1e-5;

/// How far two graphs are apart, over all inputs compared.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Inputs compared.
    pub inputs: usize,
    /// Largest difference of a value, relative to the largest value of its tensor.
    pub relative: f64,
    /// Smallest cosine of the angle between the two tensors.
    pub cosine: f64,
}

/// Noise in \[-1, 1\], the same for the same `seed`.
pub fn noise(name: &str, shape: &[i64], seed: u64) -> Array {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product::<i64>().max(0) as usize;
    Array { name: name.into(), shape: shape.to_vec(), values: (0..count).map(|_| rng.random_range(-1.0f32..1.0)).collect() }
}

/// Compares output `of_a` of graph `a` with output `of_b` of graph `b`, over pairs of their inputs.
///
/// # Errors
/// `Backbone` when a graph fails, or when one gives a value that is not a number where the other gives a number.
pub fn compare(a: &mut Probe, of_a: &str, b: &mut Probe, of_b: &str, inputs: &[(Array, Array)]) -> Result<Difference> {
    let mut worst = Difference { inputs: inputs.len(), relative: 0.0, cosine: 1.0 };
    for (input_a, input_b) in inputs {
        let x = output(a, of_a, input_a)?;
        let y = output(b, of_b, input_b)?;
        if x.values.len() != y.values.len() {
            return Err(Error::new(ErrorKind::Backbone, "the two graphs give tensors of different shapes")
                .expected(format!("{:?}", x.shape))
                .found(format!("{:?}", y.shape)));
        }
        if x.values.iter().chain(&y.values).any(|v| !v.is_finite()) {
            let which = if x.values.iter().any(|v| !v.is_finite()) { of_a } else { of_b };
            return Err(Error::new(ErrorKind::Backbone, "the graph gives values that are not numbers").at(format!("tensor '{which}'")));
        }
        let (mut largest, mut apart, mut dot, mut xx, mut yy) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for (x, y) in x.values.iter().zip(&y.values) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            largest = largest.max(x.abs());
            apart = apart.max((x - y).abs());
            dot += x * y;
            xx += x * x;
            yy += y * y;
        }
        if apart > 0.0 {
            worst.relative = worst.relative.max(apart / largest.max(f64::MIN_POSITIVE));
            worst.cosine = worst.cosine.min(if xx > 0.0 && yy > 0.0 { dot / (xx * yy).sqrt() } else { 0.0 });
        }
    }
    Ok(worst)
}

fn output(probe: &mut Probe, name: &str, input: &Array) -> Result<Array> {
    let outputs = probe.run(std::slice::from_ref(input))?;
    outputs.into_iter().find(|o| o.name == name).ok_or_else(|| {
        Error::new(ErrorKind::Input, "the tensor does not hold numbers").at(format!("'{name}'")).cure("choose another one with --list")
    })
}

/// Refuses a difference above [`CUT_TOLERANCE`].
///
/// # Errors
/// `Mismatch`.
pub fn accept_cut(difference: &Difference) -> Result<()> {
    if difference.relative <= CUT_TOLERANCE {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Mismatch, "the cut graph does not give what the original gives")
        .expected(format!("a relative difference of at most {CUT_TOLERANCE:e}"))
        .found(format!("{:.2e}", difference.relative))
        .cure("the model may draw random numbers (dropout in training mode?): export it for inference"))
}
