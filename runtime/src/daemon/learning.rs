//! The thread that learns: a label is committed and acknowledged, then the new head is solved, tried, and sent to inference.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer};

use super::{Answered, Counters, Names, Published, Reply};
use crate::event::{CLASSES_NAMED, Level, What};
use crate::latent::Quantiser;
use crate::learn::ClassName;
use crate::learner::Judge;
use crate::live::facts::Facts;
use crate::live::learning::{Learning, Lesson};
use crate::store::Acknowledgement;
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Labels whose windows are remembered.
const LABELS_KEPT: usize = 256;
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What this thread is asked to do.
pub(super) enum Errand {
    Learn {
        lesson: Lesson,
        about: About,
        reply: Reply<Answered>,
    },
    Undo {
        labels: usize,
        by: String,
        reply: Reply<Answered>,
    },
    /// A window that nobody named is background.
    Ordinary {
        lesson: Lesson,
        about: About,
    },
    /// Another adapter takes the place of this one.
    Swap {
        learning: Box<Learning>,
        reply: Reply<()>,
    },
}

/// What a label is about.
pub(super) struct About {
    pub source: String,
    /// The event that it was said of.
    pub id: Option<u64>,
    pub span: (Moment, Moment),
    /// Numbers of the windows that it takes.
    pub windows: Vec<u64>,
}

/// What it has to say.
pub(super) enum News {
    Event(u64, What),
    /// How the adapter stands now.
    Adapter(Box<Facts>),
    /// A head is on its way; its windows will need these names.
    Head(Names),
    /// Windows whose label was not learned, or taken back: another may take them.
    Free(Vec<u64>),
}

/// The ends that this thread holds.
pub(super) struct Ends {
    pub errands: Receiver<Errand>,
    pub news: SyncSender<News>,
    pub heads: Producer<Box<Published>>,
    pub worn: Consumer<Box<Published>>,
    pub counters: Arc<Counters>,
    pub teller: Thread,
}

struct Work<'a> {
    learning: Learning,
    quantiser: &'a Quantiser,
    ends: Ends,
    serial: u64,
    hop: Duration,
    /// What the last head took, from its labels on.
    took: Duration,
    /// Whether a head serves that nothing has tried.
    bridged: bool,
    /// Whether it was told that no row judges the head.
    doubted: bool,
    /// Windows of the newest labels, each label's, so that undo frees them.
    taken: VecDeque<Vec<u64>>,
}

/// Until nobody has errands any more, or it is stopped; then everything is committed.
pub(super) fn run(learning: Learning, quantiser: &Quantiser, hop: Duration, ends: Ends, stop: &AtomicBool) -> Result<()> {
    let mut work =
        Work { learning, quantiser, ends, serial: 0, hop, took: Duration::ZERO, bridged: false, doubted: false, taken: VecDeque::new() };
    work.show();
    if work.learning.standing().is_some() {
        work.publish(Instant::now());
    }
    loop {
        match work.ends.errands.recv_timeout(LOOK) {
            Ok(errand) => {
                let begun = Instant::now();
                work.run(errand);
                // Labels that came at once share a head.
                for errand in work.ends.errands.try_iter().take(super::ERRANDS).collect::<Vec<_>>() {
                    work.run(errand);
                }
                work.follow(begun);
            }
            Err(RecvTimeoutError::Timeout) if !stop.load(Relaxed) => {}
            Err(_) => return work.learning.close(),
        }
        if let Err(e) = work.learning.rest() {
            work.tell(What::Notice { level: Level::Error, source: "adapter".into(), text: e.to_string() });
        }
    }
}

impl Work<'_> {
    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Learn { lesson, about, reply } => {
                let About { source, id, span, windows } = about;
                let begun = Instant::now();
                let (ack, falls) = match self.learning.learn(&lesson) {
                    Ok(learned) => learned,
                    // Nobody may be waiting any more, here and below.
                    Err(e) => {
                        drop(self.ends.news.send(News::Free(windows)));
                        return drop(reply.send(Err(e)));
                    }
                };
                drop(reply.send(Ok(answered(lesson.rows.len() as u64, &ack))));
                if self.taken.len() == LABELS_KEPT {
                    self.taken.pop_front();
                }
                self.taken.push_back(windows);
                self.bridge(&lesson, begun);
                let (positive, negative) = (lesson.labels.positive(), lesson.labels.negative());
                let classes = positive.iter().map(ToString::to_string).chain(negative.iter().map(|c| format!("!{c}"))).collect();
                let (rows, span) = (lesson.rows.len() as u64, Some(span));
                self.tell(What::Learned { source, id, span, classes, rows, by: lesson.by, durable: ack.durable });
                for fall in falls {
                    let text = format!("answers got worse: {:?} fell from {:.2} to {:.2}", fall.of, fall.change.before, fall.change.after);
                    self.tell(What::Notice { level: Level::Warning, source: "adapter".into(), text });
                }
            }
            Errand::Undo { labels, by, reply } => match self.learning.undo(labels) {
                Ok((rows, ack)) => {
                    let first = self.taken.len().saturating_sub(labels);
                    let free = self.taken.drain(first..).flatten().collect();
                    drop(self.ends.news.send(News::Free(free)));
                    drop(reply.send(Ok(answered(rows, &ack))));
                    self.tell(What::Undone { rows, by, durable: ack.durable });
                }
                Err(e) => drop(reply.send(Err(e))),
            },
            Errand::Ordinary { lesson, about: About { source, id, span, .. } } => match self.learning.learn(&lesson) {
                Ok((ack, _)) => {
                    let (rows, by) = (lesson.rows.len() as u64, lesson.by);
                    self.tell(What::Learned { source, id, span: Some(span), classes: Vec::new(), rows, by, durable: ack.durable });
                }
                Err(e) => log::warn!("{e}: ordinary sound was not learned"),
            },
            Errand::Swap { learning, reply } => drop(reply.send(self.swap(*learning))),
        }
    }

    /// Commits what was learned, and goes on with another adapter. Windows that were learned may be learned again.
    fn swap(&mut self, learning: Learning) -> Result<()> {
        let space = |of: &Learning| of.adapter().header().creation.space;
        if space(&learning) != space(&self.learning) {
            return Err(Error::new(ErrorKind::Mismatch, "the other adapter is of another backbone, or of other bits")
                .at(learning.adapter().folder().display())
                .cure("take one of the same backbone, or start again with both"));
        }
        self.learning.close()?;
        self.learning = learning;
        // Its head is another whatever its generation.
        (self.bridged, self.doubted) = (true, false);
        let free = std::mem::take(&mut self.taken).into_iter().flatten().collect();
        drop(self.ends.news.send(News::Free(free)));
        Ok(())
    }

    /// Solves the head of what was learned since, and sends it on its way.
    fn follow(&mut self, begun: Instant) {
        let followed = self.learning.follow();
        if let Err(e) = &followed {
            self.tell(What::Notice { level: Level::Error, source: "adapter".into(), text: e.to_string() });
        }
        self.show();
        // One that nothing has tried must not serve on.
        if followed.unwrap_or(false) || self.bridged {
            self.publish(begun);
        }
        self.took = begun.elapsed();
        let head_ms = self.learning.budget().head_ms;
        if self.took.as_millis() > u128::from(head_ms) {
            let text = format!("the new head took {} ms, the board gives it {head_ms}", self.took.as_millis());
            self.tell(What::Notice { level: Level::Warning, source: "board".into(), text });
        }
        if self.took >= self.hop / 2
            && let Err(e) = self.learning.prepare()
        {
            log::warn!("{e}: the windows after the next label are answered by the head before until its own is there");
        }
    }

    fn show(&self) {
        match Facts::of(&self.learning) {
            Ok(facts) => drop(self.ends.news.send(News::Adapter(Box::new(facts)))),
            Err(e) => log::warn!("{e}: whoever watches sees the adapter as it was"),
        }
    }

    fn publish(&mut self, begun: Instant) {
        self.bridged = false;
        let standing = self.learning.standing();
        let judge = standing.map(|s| Judge::new(&s.served, self.quantiser));
        let (classes, unnamed) = known(judge.as_ref().map_or(&[], Judge::classes));
        let generation = standing.map_or(0, |s| s.generation);
        let refused = standing.and_then(|s| s.verdict.as_ref()).filter(|v| !v.accepts()).map(ToString::to_string);
        if self.send(judge, generation) {
            self.ends.counters.serving.store(generation, Relaxed);
            let took_ms = begun.elapsed().as_secs_f64() * 1e3;
            self.tell(What::Serving { classes, unnamed, took_ms, untried: false, refused });
        }
        let unjudged = self.learning.standing().and_then(|s| s.served.unjudged(self.learning.adapter()));
        let before = std::mem::replace(&mut self.doubted, unjudged.is_some());
        if let Some(text) = unjudged.filter(|_| !before) {
            self.tell(What::Notice { level: Level::Info, source: "adapter".into(), text });
        }
    }

    /// Sends a head on its way; false where inference has ended.
    fn send(&mut self, judge: Option<Judge>, generation: u64) -> bool {
        // Those that came back are dropped here, so that there is room for more.
        while self.ends.worn.pop().is_ok() {}
        self.serial += 1;
        let classes = judge.as_ref().map_or(&[][..], Judge::classes).to_vec();
        let present = judge.as_ref().and_then(Judge::present_classes).map(<[_]>::to_vec);
        let names = Names { serial: self.serial, generation, classes, present };
        // The names first: a window of this head must find them.
        drop(self.ends.news.send(News::Head(names)));
        let mut head = Box::new(Published { serial: self.serial, judge });
        while let Err(rtrb::PushError::Full(back)) = self.ends.heads.push(head) {
            // Inference takes heads with each window; where it has ended nobody does.
            if self.ends.heads.is_abandoned() {
                return false;
            }
            head = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Where a head takes longer than half a hop, one that nothing has tried yet serves until it is there.
    fn bridge(&mut self, lesson: &Lesson, begun: Instant) {
        if self.took < self.hop / 2 {
            return;
        }
        match self.learning.provisional(lesson) {
            Ok(Some(served)) => {
                let judge = Judge::new(&served, self.quantiser);
                let (classes, unnamed) = known(judge.classes());
                self.bridged = true;
                if self.send(Some(judge), self.learning.adapter().generation()) {
                    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
                    self.tell(What::Serving { classes, unnamed, took_ms, untried: true, refused: None });
                }
            }
            Ok(None) => {}
            Err(e) => log::warn!("{e}: the next windows are answered by the head before"),
        }
    }

    fn tell(&self, what: What) {
        let generation = self.learning.standing().map_or(self.learning.adapter().generation(), |s| s.generation);
        drop(self.ends.news.send(News::Event(generation, what)));
        self.ends.teller.unpark();
    }
}

/// The classes that are named of those that a head knows, and how many there are beside.
fn known(all: &[ClassName]) -> (Vec<String>, u64) {
    let named = all.iter().take(CLASSES_NAMED).map(ToString::to_string).collect();
    (named, all.len().saturating_sub(CLASSES_NAMED) as u64)
}

fn answered(rows: u64, ack: &Acknowledgement) -> Answered {
    Answered { rows, generation: ack.generation, durable: ack.durable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_classes_some_are_named_and_the_others_counted() {
        let all: Vec<ClassName> = (0..CLASSES_NAMED + 6).map(|n| ClassName::new(&n.to_string()).unwrap()).collect();
        let (named, more) = known(&all);
        assert_eq!((named.len(), named[63].as_str(), more), (CLASSES_NAMED, "63", 6));
        assert_eq!(known(&all[..2]), (vec!["0".to_owned(), "1".to_owned()], 0));
    }
}
