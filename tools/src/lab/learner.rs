//! The candidates of `lab run` as they learn: statistics, random features, replay, and the head that each would serve.

use wheatear::Result;
use wheatear::head::auto::Member;
use wheatear::head::naive::{NaiveConfig, NaiveHead};
use wheatear::head::softmax::{Exemplar, SoftmaxHead};
use wheatear::head::{Counted, Head, HeadKind, SolvedHead, judges};
use wheatear::learn::ClassName;
use wheatear::learner::{self, Budget, Guard, LabelledRow, Served, Sources};

use super::data::Data;
use super::evaluate::{Candidate, Doubted, softmax_config};
use super::latents::{Latents, Statistics, Width};
use super::random::Random;
use super::reservoir::Reservoir;
use super::split::{Split, generator};

/// One candidate as it learns a stream.
pub enum Learner {
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
    /// Has learned nothing yet.
    ///
    /// # Errors
    /// As the learner.
    pub fn new(candidate: Candidate, data: &Data, split: &Split, latents: &Latents) -> Result<Learner> {
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

    /// Learns the rows of a chunk.
    ///
    /// # Errors
    /// As the learner.
    pub fn learn(&mut self, data: &Data, latents: &Latents, chunk: &[usize]) -> Result<()> {
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

    /// What would be served now.
    ///
    /// # Errors
    /// As the learner.
    pub fn head(&self, data: &Data, latents: &Latents) -> Result<Answering<'_>> {
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
pub struct Answering<'a> {
    /// The head.
    pub head: Box<dyn Head + 'a>,
    /// Of a pool: its members.
    pub members: Vec<Member>,
    /// What a guard did with labels.
    pub doubted: Option<Doubted>,
}

/// Those of the rows that were `learned` that judge a head of these classes.
fn judges<'a>(classes: &[ClassName], data: &Data, latents: &'a Latents, learned: &[usize]) -> Result<Vec<Counted<'a>>> {
    let counted = |i: &usize| {
        let class = classes.binary_search(&data.names[data.y[*i]]).unwrap_or(usize::MAX);
        Ok(Counted { latent: latents.steps(*i)?, class, recording: data.recording[*i] as u64 })
    };
    let rows = learned.iter().map(counted).collect::<Result<Vec<_>>>()?;
    let places: Vec<_> = rows.iter().map(|r| (r.class, r.recording)).collect();
    let chosen = judges::choose(&places, Budget::default().judge_rows as usize, usize::MAX);
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
    let (block, expanded) = (latents.block(statistics)?, random.map(Random::block));
    let sources = Sources { block, scale: latents.scale(), rows: &rows, background: &[], expanded };
    learner::solve(HeadKind::Auto, guard, sources, &Budget::default())
}
