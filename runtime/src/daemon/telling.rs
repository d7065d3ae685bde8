//! The thread that tells: windows become events, events go to the sinks, and labels find their windows ([`commands`]).

mod commands;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer};

use super::learning::{About, Errand, News};
use super::{Command, Counters, Glance, LiveWindow, Names, Settings, Signal, Sink};
use crate::audio::capture::level::LevelChange;
use crate::audio::capture::{CaptureEvent, Counting};
use crate::clock;
use crate::event::{Event, Level, What};
use crate::learn::{ClassName, LabelSet};
use crate::learner::judge::NO_CLASS;
use crate::live::ask::{Question, Queue, doubt};
use crate::live::learning::{Lesson, LessonRow};
use crate::live::ordinary::Ordinary;
use crate::live::picture::Column;
use crate::live::recent::{Place, Recent};
use crate::live::repeat::Repeat;
use crate::live::smooth::{self, Rule, Smoother, Stretch, Told};
use crate::live::times::Times;
use crate::live::wall::WallClock;
use crate::store::ORDINARY;

/// How long the thread sleeps when nobody wakes it.
const LOOK: Duration = Duration::from_millis(20);
/// How long a window may be on its way after its microphone gave its last sound, or after the window before it.
const ON_THE_WAY_NS: u64 = 1_000_000_000;
/// Heads whose names are kept for windows that are still on their way.
const HEADS_KEPT: usize = 32;
/// Events that can be labelled by their id.
const EVENTS_KEPT: usize = 512;
/// Questions that wait at most.
const QUESTIONS: usize = 64;

/// The ends that this thread holds.
pub(super) struct Ends {
    pub windows: Arc<ArrayQueue<Box<LiveWindow>>>,
    pub free: Producer<Box<LiveWindow>>,
    pub signals: Consumer<Signal>,
    pub columns: Consumer<(u32, Column)>,
    pub commands: Receiver<Command>,
    pub errands: SyncSender<Errand>,
    pub news: Receiver<News>,
    pub counters: Arc<Counters>,
}

struct Heard {
    name: String,
    events: Receiver<CaptureEvent>,
    /// What its microphone counts.
    counting: Option<Counting>,
    /// When its newest window was answered.
    answered_ns: Option<u64>,
    /// Why it was lost, and why the backbone failed.
    lost: Repeat,
    failed: Repeat,
    smoother: Smoother,
    /// Begin of its first window.
    opened_ns: Option<u64>,
    /// Stretch without a gap that its last window was of.
    stream: u32,
    /// Whether it was told that it rests now and then.
    rests: bool,
    /// No more sound comes for now: when what is heard of it ends, if no window that was on its way comes before.
    ends_ns: Option<u64>,
}

/// An event that can be labelled.
struct Labelled {
    id: u64,
    source: u32,
    windows: (u64, u64),
}

pub(super) struct Telling {
    ends: Ends,
    rule: Rule,
    ordinary: Ordinary,
    least_stride: u32,
    sources: Vec<Heard>,
    sinks: Vec<(Box<dyn Sink>, bool)>,
    recent: Recent,
    questions: Queue,
    heads: VecDeque<Names>,
    events: VecDeque<Labelled>,
    wall: WallClock,
    /// Windows that were told as dropped.
    told_dropped: u64,
    event: Times,
    answer: Times,
    told: Vec<Told>,
}

impl Telling {
    /// Windows have `dim` dimensions and come every `hop_s`.
    pub fn new(
        settings: &Settings,
        (dim, hop_s): (usize, f64),
        sources: Vec<(String, Receiver<CaptureEvent>, Option<Counting>)>,
        sinks: Vec<Box<dyn Sink>>,
        ends: Ends,
    ) -> Telling {
        let windows = (f64::from(settings.recent_s) / hop_s).ceil() as usize * sources.len();
        let heard = |(name, events, counting)| Heard {
            name,
            events,
            counting,
            answered_ns: None,
            lost: Repeat::default(),
            failed: Repeat::default(),
            smoother: Smoother::new(settings.rule),
            opened_ns: None,
            stream: 0,
            rests: false,
            ends_ns: None,
        };
        Telling {
            rule: settings.rule,
            ordinary: Ordinary::new(settings.background_per_hour),
            least_stride: ends.counters.stride.load(Relaxed) as u32,
            ends,
            sources: sources.into_iter().map(heard).collect(),
            sinks: sinks.into_iter().map(|sink| (sink, true)).collect(),
            recent: Recent::new(windows, dim),
            questions: Queue::new(settings.ask_per_hour, settings.ask_doubt, QUESTIONS),
            heads: VecDeque::new(),
            events: VecDeque::new(),
            wall: WallClock::new(clock::now()),
            told_dropped: 0,
            event: Times::default(),
            answer: Times::default(),
            told: Vec::new(),
        }
    }

    /// Until inference has ended, and learning too, or nobody can speak to it any more.
    pub fn run(mut self) {
        loop {
            // Both go with inference, windows first.
            let is_last = self.ends.free.is_abandoned();
            if let Some(moved_ms) = self.wall.look(clock::now()) {
                let text = format!("the clock was set by {:.1} s; times before are as they were told", moved_ms as f64 / 1e3);
                self.tell(0, What::Notice { level: Level::Warning, source: "clock".into(), text });
            }
            self.take_news();
            self.take_signals();
            while let Ok((source, column)) = self.ends.columns.pop() {
                self.show(&Glance::Sound { source, column: &column });
            }
            self.tell_dropped();
            let mut worked = false;
            while let Some(window) = self.ends.windows.pop() {
                self.window(&window);
                // As many windows as there are have room.
                drop(self.ends.free.push(window));
                worked = true;
            }
            // Windows go before what is asked, whoever asks how much.
            if let Ok(command) = self.ends.commands.try_recv() {
                self.command(command);
                worked = true;
            }
            self.end_what_is_over();
            self.hear_of_sinks();
            if is_last && !worked {
                break;
            }
            if !worked {
                std::thread::park_timeout(LOOK);
            }
        }
        (0..self.sources.len()).for_each(|n| self.stop(n));
        // Learning ends when nobody has errands; what it says until then is told.
        let (errands, _) = std::sync::mpsc::sync_channel(0);
        drop(std::mem::replace(&mut self.ends.errands, errands));
        while let Ok(news) = self.ends.news.recv() {
            self.news(news);
        }
    }

    /// Ends what was heard of microphones that give no more sound, once no window of it can be on its way.
    fn end_what_is_over(&mut self) {
        let now_ns = clock::since_boot_ns();
        for n in 0..self.sources.len() {
            if self.sources[n].ends_ns.take_if(|ends_ns| *ends_ns <= now_ns).is_some() {
                self.stop(n);
            }
        }
    }

    /// Tells the others what one sink has to say of itself.
    fn hear_of_sinks(&mut self) {
        let news: Vec<_> = self.sinks.iter_mut().filter_map(|(sink, _)| sink.news()).collect();
        for (level, text) in news {
            self.tell(0, What::Notice { level, source: "events".into(), text });
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.ends.counters.windows_dropped.load(Relaxed);
        if dropped > self.told_dropped {
            let text = format!("{} windows were answered and found no room: events are told too slowly", dropped - self.told_dropped);
            self.told_dropped = dropped;
            self.tell(0, What::Notice { level: Level::Warning, source: "daemon".into(), text });
        }
    }

    fn window(&mut self, window: &LiveWindow) {
        let place = window.place;
        let heard = &mut self.sources[place.source as usize];
        heard.answered_ns = Some(clock::since_boot_ns());
        let is_new = std::mem::replace(&mut heard.stream, place.stream) != place.stream;
        heard.ends_ns = heard.ends_ns.filter(|_| !is_new).map(|_| clock::since_boot_ns() + ON_THE_WAY_NS);
        if is_new {
            self.stop(place.source as usize);
        }
        self.learn_ordinary();
        self.recent.push(place, &window.latent);
        self.questions.forget_before(self.recent.iter().next().map_or(0, |(p, _)| p.number));
        self.answer.push(window.took_ns);
        let n = place.source as usize;
        self.sources[n].opened_ns.get_or_insert(place.begin_ns);
        // The head's names came before its first window.
        if window.answer.is_some() && self.heads.iter().all(|h| h.serial != window.head) {
            self.take_news();
        }
        let heads = std::mem::take(&mut self.heads);
        let names = heads.iter().find(|h| h.serial == window.head);
        let (mut classes, mut guesses): (Vec<(&ClassName, f32)>, Vec<_>) = Default::default();
        let (mut unknown, generation) = (None, names.map_or(0, |h| h.generation));
        if let (Some(answer), Some(names)) = (&window.answer, names) {
            unknown = answer.unknown;
            let said = match &names.present {
                Some(present) => named(&answer.present, present),
                // One class alone, the surest.
                None => named(&answer.best[..1], &names.classes),
            };
            classes = said;
            let is_heard = classes.iter().any(|(_, p)| *p >= self.rule.end) && unknown.is_none_or(|u| u <= self.rule.max_unknown);
            if let Some(place) = self.recent.newest_mut().filter(|_| is_heard) {
                place.is_told = true;
            }
            guesses = named(&answer.best, &names.classes);
            self.ask(place, &guesses, unknown, generation);
        }
        let Place { number, begin_ns, end_ns, source, is_silent, .. } = place;
        let answered = smooth::Answered { number, begin_ns, end_ns, classes: &classes, unknown, generation };
        let mut told = std::mem::take(&mut self.told);
        self.sources[n].smoother.push(answered, &mut told);
        told.drain(..).for_each(|t| self.tell_stretch(n, t, Some(end_ns)));
        // Where classes are told each by itself, what decides is shown.
        let guesses = if names.is_some_and(|h| h.present.is_some()) { &classes } else { &guesses };
        self.show(&Glance::Window { source, window: number, end: self.wall.at(end_ns), is_silent, guesses, unknown });
        (self.told, self.heads) = (told, heads);
    }

    fn ask(&mut self, place: Place, best: &[(&ClassName, f32)], unknown: Option<f32>, generation: u64) {
        let p: Vec<f32> = best.iter().map(|(_, p)| *p).collect();
        let Place { number, source, begin_ns, end_ns, .. } = place;
        let question = Question { window: number, source, span_ns: (begin_ns, end_ns), doubt: doubt(&p, unknown) };
        if !self.questions.offer(question, end_ns) {
            return;
        }
        if let Some(place) = self.recent.newest_mut() {
            place.is_told = true;
        }
        let guesses = best.iter().map(|(class, p)| (class.to_string(), *p)).collect();
        let (source, span) = (self.sources[source as usize].name.clone(), (self.wall.at(begin_ns), self.wall.at(end_ns)));
        self.tell(generation, What::Asked { window: number, source, span, guesses, unknown });
    }

    /// A window that is about to be let go, in which nothing was heard and that nobody named, is learned as background now and then.
    fn learn_ordinary(&mut self) {
        let Some((place, latent)) = self.recent.leaving() else { return };
        if place.is_silent || place.is_learned || place.is_told || !self.ordinary.is_due(place.end_ns) {
            return;
        }
        let at = clock::now();
        let time_delta_ns = place.begin_ns as i64 - at.monotonic_ns as i64;
        let rows = vec![LessonRow { latent: latent.to_vec(), time_delta_ns, start_sample: place.start_sample }];
        let lesson = Lesson { labels: LabelSet::default(), rows, is_weak: false, by: ORDINARY.into(), at };
        let source = self.sources[place.source as usize].name.clone();
        let span = (self.wall.at(place.begin_ns), self.wall.at(place.end_ns));
        let about = About { source, id: None, span, windows: Vec::new() };
        // Where learning has no room it has better things to learn.
        _ = self.ends.errands.try_send(Errand::Ordinary { lesson, about });
    }

    /// Ends what is heard of a source: its sound stops here, or has a gap.
    fn stop(&mut self, n: usize) {
        let mut told = std::mem::take(&mut self.told);
        self.sources[n].smoother.stop(&mut told);
        told.drain(..).for_each(|t| self.tell_stretch(n, t, None));
        self.told = told;
    }

    /// Tells of a stretch, as decided by a window that ended at `decided_ns`.
    fn tell_stretch(&mut self, n: usize, told: Told, decided_ns: Option<u64>) {
        let heard = &self.sources[n];
        let source = heard.name.clone();
        let seconds = |ns: u64| ns.saturating_sub(heard.opened_ns.unwrap_or(ns)) as f64 * 1e-9;
        let (generation, what) = match told {
            Told::Began(s) => {
                let Stretch { id, class, begin_ns, probability, unknown, .. } = s;
                (
                    s.generation,
                    What::Began {
                        id: self.number(n, id, s.windows),
                        source,
                        begin: self.wall.at(begin_ns),
                        class: class.to_string(),
                        probability,
                        unknown,
                    },
                )
            }
            Told::Ended(s) => {
                let (begin_s, end_s) = (seconds(s.begin_ns), seconds(s.end_ns));
                let id = Some(self.number(n, s.id, s.windows));
                let span = Some((self.wall.at(s.begin_ns), self.wall.at(s.end_ns)));
                let (class, probability, unknown) = (s.class.to_string(), s.probability, s.unknown);
                (s.generation, What::Heard { id, source, begin_s, end_s, span, class, probability, unknown })
            }
        };
        let began = matches!(what, What::Began { .. });
        self.tell(generation, what);
        if let Some(decided_ns) = decided_ns.filter(|_| began) {
            self.event.push(clock::since_boot_ns().saturating_sub(decided_ns));
        }
    }

    /// Number of an event among those of all sources, under which its windows are found.
    fn number(&mut self, n: usize, id: u64, windows: (u64, u64)) -> u64 {
        let (count, source) = (self.sources.len() as u64, n as u32);
        let id = (id - 1) * count + u64::from(source) + 1;
        match self.events.iter_mut().find(|e| e.id == id) {
            Some(event) => event.windows = windows,
            None => {
                if self.events.len() == EVENTS_KEPT {
                    self.events.pop_front();
                }
                self.events.push_back(Labelled { id, source, windows });
            }
        }
        id
    }

    fn take_news(&mut self) {
        while let Ok(news) = self.ends.news.try_recv() {
            self.news(news);
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Event(generation, what) => self.tell(generation, what),
            News::Head(names) => {
                if self.heads.len() == HEADS_KEPT {
                    self.heads.pop_front();
                }
                self.heads.push_back(names);
            }
            News::Adapter(facts) => self.show(&Glance::Adapter(&facts)),
            News::Free(mut windows) => {
                // As the labels came, which need not be as the windows did.
                windows.sort_unstable();
                self.recent.note(&windows, false);
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(signal) = self.ends.signals.pop() {
            let (source, level, text) = match signal {
                Signal::Gap { source, frames } => {
                    let lost = frames.map_or("sound is missing, nobody knows how much".to_owned(), |n| format!("{n} frames were lost"));
                    (Some(source), Level::Warning, lost)
                }
                Signal::Level { source, change } => {
                    let is_good = matches!(change, LevelChange::Sounding | LevelChange::Unclipped);
                    (Some(source), if is_good { Level::Info } else { Level::Warning }, change.to_string())
                }
                Signal::Stride(n) if n == self.least_stride => (None, Level::Info, "as many windows are answered as before".to_owned()),
                Signal::Stride(n) => (None, Level::Warning, format!("the board is slower than the sound: one window in {n} is answered")),
                Signal::Failed { source, why } => {
                    let Some(untold) = self.sources[source as usize].failed.tell(why.what(), clock::since_boot_ns()) else { continue };
                    let more = if untold > 0 { format!(" ({untold} more since this was told)") } else { String::new() };
                    (Some(source), Level::Error, format!("the backbone could not answer a window, the next begins anew: {why}{more}"))
                }
            };
            let source = source.map_or("board".to_owned(), |n| self.sources[n as usize].name.clone());
            self.tell(0, What::Notice { level, source, text });
        }
        for n in 0..self.sources.len() {
            while let Ok(event) = self.sources[n].events.try_recv() {
                self.capture(n, event);
            }
        }
    }

    fn capture(&mut self, n: usize, event: CaptureEvent) {
        let level = match event {
            CaptureEvent::Opened { .. } | CaptureEvent::Resting { .. } | CaptureEvent::Stopped => Level::Info,
            CaptureEvent::Lost { .. } => Level::Error,
            CaptureEvent::Xrun { .. } | CaptureEvent::Overrun { .. } | CaptureEvent::NotNumbers { .. } => Level::Warning,
        };
        let rests = matches!(event, CaptureEvent::Resting { .. });
        if level == Level::Error || rests {
            self.sources[n].ends_ns = Some(clock::since_boot_ns() + ON_THE_WAY_NS);
        }
        // The first rest is news, the others are as announced.
        if rests && std::mem::replace(&mut self.sources[n].rests, true) {
            return;
        }
        let heard = &mut self.sources[n];
        match &event {
            CaptureEvent::Lost { why, .. } if heard.lost.tell(why, clock::since_boot_ns()).is_none() => return,
            CaptureEvent::Opened { .. } => heard.lost.is_over(),
            _ => {}
        }
        let (source, text) = (heard.name.clone(), event.to_string());
        self.tell(0, What::Notice { level, source, text });
    }

    fn show(&mut self, glance: &Glance<'_>) {
        self.sinks.iter_mut().for_each(|(sink, _)| sink.glance(glance));
    }

    fn tell(&mut self, generation: u64, what: What) {
        let event = Event::new(clock::now(), generation, what);
        for (sink, works) in &mut self.sinks {
            match sink.take(&event) {
                Ok(()) => *works = true,
                Err(e) if std::mem::replace(works, false) => log::error!("{e}; events are lost to it until it works again"),
                Err(_) => {}
            }
        }
    }
}

/// The classes with their names.
fn named<'a>(best: &[(usize, f32)], classes: &'a [ClassName]) -> Vec<(&'a ClassName, f32)> {
    best.iter().filter(|b| b.0 != NO_CLASS.0).filter_map(|(c, p)| classes.get(*c).map(|class| (class, *p))).collect()
}
