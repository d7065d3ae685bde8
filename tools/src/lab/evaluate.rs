//! One run of one head: learn the stream chunk by chunk, test after every task, and compare with the same head trained
//! on the same rows mixed.

use std::time::Instant;

use serde::Serialize;
use wheatear::Result;
use wheatear::head::auto::Member;
use wheatear::head::naive::{NaiveConfig, NaiveHead};
use wheatear::head::softmax::{Exemplar, SoftmaxConfig, SoftmaxHead};
use wheatear::head::{Counted, Head, HeadKind, SolvedHead, argmax, judges, softmax};
use wheatear::learn::ClassName;
use wheatear::learner::{self, Guard, LabelledRow, Served};

use super::data::Data;
use super::latents::{Latents, Statistics, Width};
use super::metrics::{Matrix, backward_transfer, class_accuracy, ece, forgetting, forgetting_max, mean, mean_class_accuracy};
use super::random::Random;
use super::reservoir::{Replay, Reservoir};
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

enum Learner {
    Solved(SolvedHead, Statistics),
    /// With the rows that it learned.
    Evidence(SolvedHead, Statistics, Vec<usize>),
    Random(Random, Vec<usize>),
    Auto(Guard, Statistics, Option<Random>, Vec<usize>),
    Naive(NaiveHead),
    /// With the rows that replay holds, and all rows as it would hold them.
    Softmax(Box<SoftmaxHead>, Box<Reservoir>, Latents),
}

impl Learner {
    fn new(candidate: Candidate, data: &Data, split: &Split, latents: &Latents) -> Result<Learner> {
        let random = |count: u32| Random::new(count, data, split, latents);
        Ok(match candidate {
            Candidate::Solved(head) => Learner::Solved(head, latents.statistics(data.names.len())?),
            Candidate::Evidence(head) => Learner::Evidence(head, latents.statistics(data.names.len())?, Vec::new()),
            Candidate::Random(count) => Learner::Random(random(count)?, Vec::new()),
            Candidate::Auto(guard, count) => {
                let random = (count > 0).then(|| random(count)).transpose()?;
                Learner::Auto(guard, latents.statistics(data.names.len())?, random, Vec::new())
            }
            Candidate::Naive(learning_rate) => {
                Learner::Naive(NaiveHead::new(data.dim, NaiveConfig { learning_rate, ..NaiveConfig::default() }))
            }
            Candidate::Softmax(replay) => {
                let held = Latents::new(data, &split.train, Width::Bits(replay.bits))?;
                let purpose = 2 << 32 | u64::from(split.fold);
                let reservoir = Box::new(Reservoir::new(replay, data.names.len(), generator(split.seed, purpose)));
                let config = softmax_config(replay, data, split);
                Learner::Softmax(Box::new(SoftmaxHead::new(held.scale(), config)?), reservoir, held)
            }
        })
    }

    fn learn(&mut self, data: &Data, latents: &Latents, chunk: &[usize]) -> Result<()> {
        match self {
            Learner::Solved(_, statistics) => latents.learn(statistics, data, chunk),
            Learner::Evidence(_, statistics, learned) => {
                learned.extend(chunk);
                latents.learn(statistics, data, chunk)
            }
            Learner::Random(random, learned) => {
                learned.extend(chunk);
                random.learn(data, latents, chunk)
            }
            Learner::Auto(_, statistics, random, learned) => {
                learned.extend(chunk);
                random.as_mut().map_or(Ok(()), |random| random.learn(data, latents, chunk))?;
                latents.learn(statistics, data, chunk)
            }
            Learner::Naive(head) => {
                let rows: Vec<f32> = chunk.iter().flat_map(|i| &latents.values[i * data.dim..(i + 1) * data.dim]).copied().collect();
                let labels: Vec<ClassName> = chunk.iter().map(|i| data.names[data.y[*i]].clone()).collect();
                head.learn_chunk(&rows, &labels)
            }
            Learner::Softmax(head, reservoir, held) => {
                let exemplars = |reservoir: &Reservoir, held_out: bool| {
                    let wanted = reservoir.held().iter().filter(|h| h.held_out == held_out);
                    wanted.map(|h| Ok(Exemplar { latent: held.steps(h.row)?, class: &data.names[h.class] })).collect::<Result<Vec<_>>>()
                };
                let replay = exemplars(reservoir, false)?;
                let fresh: Vec<usize> = chunk.iter().copied().filter(|i| reservoir.push(*i, data.y[*i])).collect();
                let rows: Vec<f32> = fresh.iter().flat_map(|i| &latents.values[i * data.dim..(i + 1) * data.dim]).copied().collect();
                let labels: Vec<ClassName> = fresh.iter().map(|i| data.names[data.y[*i]].clone()).collect();
                head.learn(&rows, &labels, &replay)?;
                head.calibrate(&exemplars(reservoir, true)?)
            }
        }
    }

    fn head(&self, data: &Data, latents: &Latents) -> Result<Answering<'_>> {
        let plain = |head: Box<dyn Head>| Answering { head, members: Vec::new(), doubted: None };
        Ok(match self {
            Learner::Solved(head, statistics) => plain(Box::new(head.solve(&latents.moments(statistics, data)?)?)),
            Learner::Evidence(head, statistics, learned) => {
                let moments = latents.moments(statistics, data)?;
                plain(Box::new(head.solve_by_evidence(&moments, &judges(moments.classes(), data, latents, learned)?)?))
            }
            Learner::Random(random, learned) => {
                let classes: Vec<ClassName> = random.block().block.classes().keys().cloned().collect();
                plain(Box::new(random.expanded(latents)?.solve_by_evidence(&judges(&classes, data, latents, learned)?)?))
            }
            Learner::Auto(guard, statistics, random, learned) => {
                let served = serve(*guard, statistics, data, latents, learned, random.as_ref())?;
                let wrong = |i: usize| data.y[i] != data.truth[i];
                let caught = served.doubtful.iter().filter(|d| wrong(d.id as usize)).count();
                let doubted = Doubted {
                    examined: served.examined,
                    wrong: learned.iter().filter(|i| wrong(**i)).count(),
                    caught,
                    refused: served.doubtful.len() - caught,
                };
                Answering { head: Box::new(served.head), members: served.members, doubted: (*guard == Guard::On).then_some(doubted) }
            }
            Learner::Naive(head) => plain(Box::new(head.clone())),
            Learner::Softmax(head, ..) => plain(Box::new(SoftmaxHead::clone(head))),
        })
    }
}

/// What classifies after a task.
struct Answering<'a> {
    head: Box<dyn Head + 'a>,
    members: Vec<Member>,
    doubted: Option<Doubted>,
}

/// Those of the rows that were `learned` that judge a head of these classes.
fn judges<'a>(classes: &[ClassName], data: &Data, latents: &'a Latents, learned: &[usize]) -> Result<Vec<Counted<'a>>> {
    let counted = |i: &usize| {
        let class = classes.binary_search(&data.names[data.y[*i]]).unwrap_or(usize::MAX);
        Ok(Counted { latent: latents.steps(*i)?, class, recording: data.recording[*i] as u64 })
    };
    let rows = learned.iter().map(counted).collect::<Result<Vec<_>>>()?;
    let chosen = judges::choose(&rows.iter().map(|r| (r.class, r.recording)).collect::<Vec<_>>());
    Ok(chosen.into_iter().map(|i| rows[i]).collect())
}

/// The pooled head of rows that were `learned`, as a device serves it.
///
/// # Errors
/// `Config` for latents of more than 8 bits.
pub fn serve(
    guard: Guard,
    statistics: &Statistics,
    data: &Data,
    latents: &Latents,
    learned: &[usize],
    random: Option<&Random>,
) -> Result<Served> {
    let row = |i: &usize| {
        let (latent, class) = (latents.steps(*i)?.to_vec(), data.names[data.y[*i]].clone());
        Ok(LabelledRow { id: *i as u64, latent, class, recording: data.recording[*i] as u64 })
    };
    let rows = learned.iter().map(row).collect::<Result<Vec<_>>>()?;
    learner::solve(HeadKind::Auto, guard, latents.block(statistics)?, latents.scale(), &rows, &[], random.map(Random::block))
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
