//! One run of one head: learn the stream chunk by chunk, test after every task, and compare with the same head trained
//! on the same rows mixed.

use std::time::Instant;

use serde::Serialize;
use wheatear::Result;
use wheatear::head::auto::Member;
use wheatear::head::softmax::SoftmaxConfig;
use wheatear::head::{Head, SolvedHead, argmax, softmax};
use wheatear::learner::Guard;

use super::data::Data;
use super::latents::Latents;
use super::learner::Learner;
use super::metrics::{Matrix, backward_transfer, class_accuracy, ece, forgetting, forgetting_max, mean, mean_class_accuracy};
use super::reservoir::Replay;
use super::split::{Split, Stream, generator, shuffle};
use crate::clock::thread_cpu_s;

/// Which head to run, with what it needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Candidate {
    /// A head solved from statistics.
    Solved(SolvedHead),
    /// The same, its parameter and temperature chosen by leaving out its own rows.
    Evidence(SolvedHead),
    /// Ridge over this many random features, by the same evidence.
    Random(u32),
    /// Heads pooled by the same evidence, as a device serves them; with this many random features.
    Auto(Guard, u32),
    /// Softmax SGD with this learning rate.
    Naive(f64),
    /// Trained over this much replay.
    Softmax(Replay),
}

impl Candidate {
    /// The head's name.
    pub fn name(self) -> &'static str {
        match self {
            Candidate::Solved(head) => head.name(),
            Candidate::Evidence(SolvedHead::Slda) => "slda-loo",
            Candidate::Evidence(SolvedHead::Ridge) => "ridge-loo",
            Candidate::Evidence(head) => head.name(),
            Candidate::Random(_) => "rf",
            Candidate::Auto(Guard::On, 0) => "auto",
            Candidate::Auto(Guard::On, _) => "auto-rf",
            Candidate::Auto(Guard::Off, 0) => "auto-unguarded",
            Candidate::Auto(Guard::Off, _) => "auto-unguarded-rf",
            Candidate::Naive(_) => "naive",
            Candidate::Softmax(_) => "softmax",
        }
    }
}

/// What a guard did with labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Doubted {
    /// Rows that it looked at.
    pub examined: usize,
    /// Rows whose label was wrong.
    pub wrong: usize,
    /// Wrong labels that it left out.
    pub caught: usize,
    /// Right labels that it left out.
    pub refused: usize,
}

/// What one run of one head gave.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Seed of the split.
    pub seed: u64,
    /// Fold that was tested.
    pub fold: u32,
    /// Mean per-class accuracy after the whole stream.
    pub accuracy: f64,
    /// After each task: mean accuracy over the classes seen so far.
    pub curve: Vec<f64>,
    /// Accuracy on each task after each task.
    pub matrix: Matrix,
    /// Accuracy on each task when all rows came mixed.
    pub joint: Vec<Option<f64>>,
    /// Mean over tasks of joint minus streamed accuracy.
    pub forgetting: f64,
    /// Forgetting after Chaudhry 2018.
    pub forgetting_max: f64,
    /// Backward transfer after Lopez-Paz & Ranzato 2017.
    pub backward_transfer: f64,
    /// Expected calibration error after the whole stream.
    pub ece: f64,
    /// What the guard did after the whole stream; none without one.
    pub doubted: Option<Doubted>,
    /// Of a pool: what was chosen after the whole stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// Confidence in the class that was predicted, and whether it was right, for each row of the test.
    #[serde(skip)]
    pub answers: Vec<(f32, bool)>,
    /// Seconds of learning: updates, and for a solved head one solve a task.
    pub learn_s: f64,
    /// The same in seconds of the processor: what else runs on the machine does not count.
    pub learn_cpu_s: f64,
    /// Processor seconds of these that made heads, one a task.
    pub head_cpu_s: f64,
    /// Rows learned.
    pub rows: usize,
    /// `confusion[true][predicted]` after the whole stream, rows of the test.
    #[serde(skip)]
    pub confusion: Vec<Vec<u32>>,
}

/// Runs `candidate` over one split.
///
/// # Errors
/// As the learner.
pub fn run(candidate: Candidate, data: &Data, split: &Split, stream: &Stream, latents: &Latents) -> Result<Outcome> {
    let truth: Vec<usize> = split.test.iter().map(|i| data.truth[*i]).collect();
    let mut learner = Learner::new(candidate, data, split, latents)?;
    let (mut matrix, mut curve, mut predicted) = (Matrix::new(), Vec::new(), Vec::new());
    let (mut learn_s, mut learn_cpu_s, mut head_cpu_s) = (0.0, 0.0, 0.0);
    let (mut confidence, mut members, mut doubted) = (Vec::new(), Vec::new(), None);
    for (t, chunks) in stream.chunks.iter().enumerate() {
        let (start, start_cpu_s) = (Instant::now(), thread_cpu_s());
        for chunk in chunks {
            learner.learn(data, latents, chunk)?;
        }
        let learned_cpu_s = thread_cpu_s();
        let served = learner.head(data, latents)?;
        let end_cpu_s = thread_cpu_s();
        learn_s += start.elapsed().as_secs_f64();
        learn_cpu_s += end_cpu_s - start_cpu_s;
        head_cpu_s += end_cpu_s - learned_cpu_s;
        let head = served.head;
        (members, doubted) = (served.members, served.doubted.or(doubted));
        // Only classes learned so far can be predicted, so rows of later ones do not count yet.
        (predicted, confidence) = predict(head.as_ref(), data, &split.test, latents);
        let seen: Vec<usize> = stream.tasks[..=t].concat();
        curve.push(class_accuracy(&predicted, &truth, &seen).unwrap_or(f64::NAN));
        matrix.push(stream.tasks[..=t].iter().map(|task| class_accuracy(&predicted, &truth, task)).collect());
    }
    let mut confusion = vec![vec![0; data.names.len()]; data.names.len()];
    predicted.iter().zip(&truth).for_each(|(p, t)| confusion[*t][*p] += 1);

    let mut mixed = split.train.clone();
    shuffle(&mut mixed, &mut generator(split.seed, 1 << 32 | u64::from(split.fold)));
    let mut joint = Learner::new(candidate, data, split, latents)?;
    let chunk_rows = stream.chunks.iter().flatten().map(Vec::len).max().unwrap_or(1);
    for chunk in mixed.chunks(chunk_rows) {
        joint.learn(data, latents, chunk)?;
    }
    let (joint_predicted, _) = predict(joint.head(data, latents)?.head.as_ref(), data, &split.test, latents);
    let answers: Vec<(f32, bool)> = confidence.iter().zip(&predicted).zip(&truth).map(|((c, p), t)| (*c, p == t)).collect();
    let joint: Vec<Option<f64>> = stream.tasks.iter().map(|t| class_accuracy(&joint_predicted, &truth, t)).collect();
    Ok(Outcome {
        seed: split.seed,
        fold: split.fold,
        accuracy: mean_class_accuracy(&predicted, &truth, data.names.len()),
        curve,
        forgetting: matrix.last().map_or(0.0, |last| forgetting(&joint, last)),
        forgetting_max: forgetting_max(&matrix),
        backward_transfer: backward_transfer(&matrix),
        matrix,
        joint,
        ece: ece(answers.iter().copied()),
        doubted,
        members,
        answers,
        learn_s,
        learn_cpu_s,
        head_cpu_s,
        rows: split.train.len(),
        confusion,
    })
}

/// Classes that each of `heads` gives the test rows after the whole stream of one split, from one set of statistics: what
/// [`run`] predicts with each, without what it measures on the way.
///
/// # Errors
/// As the learner.
pub fn final_predictions(heads: &[SolvedHead], data: &Data, split: &Split, stream: &Stream, latents: &Latents) -> Result<Vec<Vec<usize>>> {
    let mut statistics = latents.statistics(data.names.len())?;
    for chunk in stream.chunks.iter().flatten() {
        latents.learn(&mut statistics, data, chunk)?;
    }
    let moments = latents.moments(&statistics, data)?;
    heads.iter().map(|head| Ok(predict(&head.solve(&moments)?, data, &split.test, latents).0)).collect()
}

/// How the softmax head learns in one run.
pub fn softmax_config(replay: Replay, data: &Data, split: &Split) -> SoftmaxConfig {
    let classes_max = data.names.len() as u32;
    let rows_max = replay.per_class.saturating_mul(classes_max).saturating_add(split.train.len() as u32);
    SoftmaxConfig { classes_max, rows_max, seed: split.seed << 32 | u64::from(split.fold), ..SoftmaxConfig::default() }
}

/// Mean accuracy of a candidate over splits, for choosing among candidates.
pub fn mean_accuracy(outcomes: &[Outcome]) -> f64 {
    mean(outcomes.iter().map(|o| o.accuracy)).unwrap_or(f64::NAN)
}

/// The class of each row, and how sure the head is of it.
pub fn predict(head: &dyn Head, data: &Data, rows: &[usize], latents: &Latents) -> (Vec<usize>, Vec<f32>) {
    let of_head: Vec<usize> = head.classes().iter().map(|c| data.names.binary_search(c).unwrap_or(0)).collect();
    let mut scores = vec![0.0; of_head.len()];
    let of_row = |i: &usize| {
        head.scores(&latents.values[i * data.dim..(i + 1) * data.dim], &mut scores);
        let best = argmax(&scores);
        softmax(&mut scores, head.temperature());
        (of_head[best], scores[best])
    };
    rows.iter().map(of_row).unzip()
}
