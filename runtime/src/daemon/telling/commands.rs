//! What the thread that tells is asked: labels find their windows here.

use std::sync::mpsc::TrySendError;

use super::super::learning::{About, Errand};
use super::super::{Command, Counts, Reply, SourceCounts, Target, stopped};
use super::{Heard, Telling};
use crate::audio::capture::Counting;
use crate::clock;
use crate::learn::LabelSet;
use crate::live::learning::{Lesson, LessonRow};
use crate::live::recent::Place;
use crate::{Error, ErrorKind, Result};

/// Windows that one label may be about.
const ROWS_MAX: usize = 4096;

impl Telling {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Label { target, labels, by, reply } => {
                let errand = self.lesson(target, labels, by);
                let taken = errand.as_ref().map_or(Vec::new(), |(_, about)| about.windows.clone());
                let errand = errand.map(|(lesson, about)| Errand::Learn { lesson, about, reply: reply.clone() });
                if self.send(errand, reply) {
                    self.take(&taken);
                }
            }
            Command::Undo { labels, by, reply } => {
                self.send(Ok(Errand::Undo { labels, by, reply: reply.clone() }), reply);
            }
            // Nobody may be waiting any more.
            Command::Questions { reply } => drop(reply.send(self.questions.waiting())),
            Command::Counts { reply } => drop(reply.send(self.counts())),
            Command::Swap { learning, reply } => {
                self.send(Ok(Errand::Swap { learning, reply: reply.clone() }), reply);
            }
            Command::Configure { settings, reply } => {
                self.ordinary.allow(settings.background_per_hour);
                self.rule = settings.rule;
                self.sources.iter_mut().for_each(|s| s.smoother.set_rule(settings.rule));
                self.questions.allow(settings.ask_per_hour, settings.ask_doubt);
                _ = reply.send(());
            }
        }
    }

    /// Whether the errand is on its way.
    fn send<T>(&self, errand: Result<Errand>, reply: Reply<T>) -> bool {
        let sent = errand.and_then(|errand| match self.ends.errands.try_send(errand) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err(Error::new(ErrorKind::Busy, "too many labels wait to be learned").cure("try again in a moment"))
            }
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        });
        match sent {
            Ok(()) => true,
            Err(refused) => {
                // Nobody may be waiting any more.
                drop(reply.send(Err(refused)));
                false
            }
        }
    }

    /// Notes that a label has taken these windows.
    fn take(&mut self, windows: &[u64]) {
        self.recent.note(windows, true);
        let taken = self.recent.iter().filter(|(p, _)| windows.binary_search(&p.number).is_ok());
        let spans: Vec<(u32, u64, u64)> = taken.map(|(p, _)| (p.source, p.begin_ns, p.end_ns)).collect();
        spans.into_iter().for_each(|(source, begin, end)| self.questions.answered(source, (begin, end)));
    }

    /// The windows that a label is about, but the silent ones and those that a label has taken.
    fn lesson(&self, target: Target, labels: LabelSet, by: String) -> Result<(Lesson, About)> {
        let at = clock::now();
        let found: Vec<(&Place, &[i8])> = match target {
            Target::Last { source, ms } => {
                let since = at.monotonic_ns.saturating_sub(u64::from(ms) * 1_000_000);
                self.recent.within(self.microphone(source)?, since, at.monotonic_ns).collect()
            }
            Target::Event(id) => {
                let event = self
                    .events
                    .iter()
                    .find(|e| e.id == id)
                    .ok_or_else(|| not_held(ErrorKind::Missing, "no event of this id is held", target))?;
                // One that is still heard has grown since it was told.
                let own = (id - 1) / self.sources.len() as u64 + 1;
                let (first, last) = self.sources[event.source as usize].smoother.windows(own).unwrap_or(event.windows);
                self.recent.numbered(event.source, first, last).collect()
            }
            Target::Window(number) => self.recent.iter().filter(|(p, _)| p.number == number).collect(),
            Target::Span { source, begin_ns, end_ns } => self.recent.within(self.microphone(source)?, begin_ns, end_ns).collect(),
        };
        let sounding: Vec<&(&Place, &[i8])> = found.iter().filter(|(p, _)| !p.is_silent).collect();
        let free: Vec<&&(&Place, &[i8])> = sounding.iter().filter(|(p, _)| !p.is_learned).collect();
        let Some((first, _)) = free.first() else {
            return Err(match (found.is_empty(), sounding.is_empty()) {
                (true, _) => not_held(ErrorKind::Input, "no window is held of what the label is about", target),
                (_, true) => Error::new(ErrorKind::Input, "what the label is about is silent")
                    .found(target)
                    .cure("say it of sound that is loud enough, or turn the gain up"),
                _ => Error::new(ErrorKind::Input, "what the label is about was labelled already")
                    .found(format!("{} windows", sounding.len()))
                    .cure("take that label back first (undo), or correct its rows with wheatear relabel"),
            });
        };
        if free.len() > ROWS_MAX {
            return Err(Error::new(ErrorKind::Input, "a label is about too much sound at once")
                .expected(format!("at most {ROWS_MAX} windows"))
                .found(free.len())
                .cure("name a shorter span"));
        }
        let source = self.sources[first.source as usize].name.clone();
        let row = |(place, latent): &&&(&Place, &[i8])| LessonRow {
            latent: latent.to_vec(),
            time_delta_ns: place.begin_ns as i64 - at.monotonic_ns as i64,
            start_sample: place.start_sample,
        };
        let rows: Vec<LessonRow> = free.iter().map(row).collect();
        let windows = free.iter().map(|(p, _)| p.number).collect();
        let is_weak = rows.len() > 1;
        let id = if let Target::Event(id) = target { Some(id) } else { None };
        let end_ns = free.iter().map(|(p, _)| p.end_ns).max().unwrap_or(first.end_ns);
        let span = (self.wall.at(first.begin_ns), self.wall.at(end_ns));
        Ok((Lesson { labels, rows, is_weak, by, at }, About { source, id, span, windows }))
    }

    /// The microphone that is meant.
    fn microphone(&self, named: Option<u32>) -> Result<u32> {
        let there = self.sources.len();
        let wrong = |what: &str, found: String| {
            let names: Vec<String> = self.sources.iter().enumerate().map(|(n, s)| format!("{} ({})", n + 1, s.name)).collect();
            Err(Error::new(ErrorKind::Input, what).expected(names.join(", ")).found(found).cure("name one of them"))
        };
        match named {
            Some(n) if (n as usize) < there => Ok(n),
            Some(n) => wrong("there is no such microphone", (u64::from(n) + 1).to_string()),
            None if there == 1 => Ok(0),
            None => wrong("several microphones are heard, and the label names none", "none".into()),
        }
    }

    fn counts(&self) -> Counts {
        let now_ns = clock::since_boot_ns();
        let source = |s: &Heard| SourceCounts {
            name: s.name.clone(),
            answered_ms_ago: s.answered_ns.map(|at| now_ns.saturating_sub(at) / 1_000_000),
            capture: s.counting.as_ref().map(Counting::counts),
        };
        Counts {
            events_lost: self.sinks.iter().map(|(sink, _)| sink.lost()).sum(),
            event_ms: self.event.percentiles_ms(),
            answer_ms: self.answer.percentiles_ms(),
            sources: self.sources.iter().map(source).collect(),
            ..self.ends.counters.read()
        }
    }
}

fn not_held(kind: ErrorKind, what: &str, target: Target) -> Error {
    Error::new(kind, what).found(target).cure("label it sooner, or hold windows for longer (listen.recent_s)")
}
