//! Live sound, end to end: microphones, a thread that answers windows, one that tells what was heard and takes labels, and one that
//! learns. This module holds threads, clocks and queues, and nothing else.
//!
//! ```text
//! callback --ring--> inference --windows--> telling --events--> sinks
//!                        ^                   ^   |
//!                        |                 label |  errands
//!                        +---- a new head -- learning
//! ```
//!
//! Every queue is bounded. Where one is full: the ring drops the newest block of samples and counts its frames; inference drops the oldest
//! window that waits to be told, and counts it (sound that can wait does); a label that finds learning busy with [`ERRANDS`] others is refused
//! as `Busy`. A board that is slower than its microphones answers fewer windows ([`crate::live::pace`]). Learning and telling never delay a
//! window.

mod counts;
mod inference;
mod learning;
mod telling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rtrb::RingBuffer;

use crate::audio::capture::feed::Tap;
use crate::audio::capture::level::LevelChange;
use crate::audio::capture::{CaptureEvent, Microphone, MicrophoneSettings, Reader, Running};
use crate::learn::{ClassName, LabelSet};
use crate::learner::{Answer, Judge};
use crate::live::ask::Question;
use crate::live::learning::Learning;
use crate::live::pace::STRIDE_MAX;
use crate::live::recent::Place;
use crate::live::request::Request;
use crate::live::smooth::Rule;
use crate::pipeline::Embedder;
use crate::store::ORDINARY;
use crate::{Error, ErrorKind, Result};
use counts::Counters;
use inference::Inference;
use telling::Telling;

pub use crate::event::{Glance, Sink};
pub use crate::live::request::{Answered, Target};
pub use counts::{Counts, SourceCounts};

/// Windows between inference and telling.
const WINDOWS: usize = 64;
/// Columns of the picture between inference and telling; what finds no room is not seen.
const COLUMNS: usize = 256;
/// Labels that wait for the thread that learns.
pub const ERRANDS: usize = 64;
/// Heads on their way to inference.
const HEADS: usize = 4;
/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long another adapter may take: what the one before has learned is committed first, whatever waits.
const SWAP: Duration = Duration::from_secs(600);

/// How live sound is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// When a class counts as heard.
    pub rule: Rule,
    /// Questions an hour; 0 for none.
    pub ask_per_hour: f64,
    /// Least doubt that is asked about, 0 to 1.
    pub ask_doubt: f32,
    /// How long windows are held for labels that come late, in s.
    pub recent_s: u32,
    /// Whether sinks are shown the sound.
    pub picture: bool,
    /// Windows that nobody named are learned as background, so many an hour; 0 for none.
    pub background_per_hour: f64,
    /// Spares the board: windows do not overlap, and the threads that hear and learn leave the processor to others.
    pub nice: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rule: Rule::default(),
            ask_per_hour: 0.0,
            ask_doubt: 0.5,
            recent_s: 600,
            picture: false,
            background_per_hour: 0.0,
            nice: false,
        }
    }
}

/// Where sound comes from.
pub struct Source {
    /// Its name in events.
    pub name: String,
    /// Its samples.
    pub reader: Reader,
    /// What happens to it.
    pub events: Receiver<CaptureEvent>,
    /// Whether it does not wait: where the board is slower, windows are passed over. Of a file none are.
    pub is_live: bool,
    /// A microphone, which is stopped with the daemon.
    pub microphone: Option<Microphone>,
    /// Where its sound is passed on to.
    pub tap: Option<Tap>,
}

impl Source {
    /// Starts a microphone.
    ///
    /// # Errors
    /// As [`Microphone::start`].
    pub fn microphone(settings: MicrophoneSettings) -> Result<Source> {
        let name = settings.device.clone().unwrap_or_else(|| "microphone".into());
        let Running { microphone, reader, events } = Microphone::start(settings)?;
        Ok(Source { name, reader, events, is_live: true, microphone: Some(microphone), tap: None })
    }
}

/// A window on its way from inference to telling.
struct LiveWindow {
    place: Place,
    latent: Vec<i8>,
    answer: Option<Answer>,
    /// Serial number of the head that answered.
    head: u64,
    /// What the backbone and the head took.
    took_ns: u64,
}

/// A head on its way to inference, or back from there to be dropped.
struct Published {
    serial: u64,
    /// None when there is nothing to judge by any more.
    judge: Option<Judge>,
}

/// What inference tells beside windows.
#[derive(Debug)]
enum Signal {
    /// Sound is missing before this moment: so many frames, or an unknown number.
    Gap {
        source: u32,
        frames: Option<u64>,
    },
    Level {
        source: u32,
        change: LevelChange,
    },
    Stride(u32),
    /// The backbone could not answer a window.
    Failed {
        source: u32,
        why: Error,
    },
}

/// Names of the classes of a head.
struct Names {
    serial: u64,
    generation: u64,
    classes: Vec<ClassName>,
    present: Option<Vec<ClassName>>,
}

type Reply<T> = SyncSender<Result<T>>;

enum Command {
    Label { target: Target, labels: LabelSet, by: String, reply: Reply<Answered> },
    Undo { labels: usize, by: String, reply: Reply<Answered> },
    Questions { reply: SyncSender<Vec<Question>> },
    Counts { reply: SyncSender<Counts> },
    Configure { settings: Settings, reply: SyncSender<()> },
    Swap { learning: Box<Learning>, reply: Reply<()> },
}

/// Speaks to a running daemon; may be cloned, and used from any thread.
#[derive(Clone)]
pub struct Handle {
    commands: SyncSender<Command>,
    telling: Thread,
    counters: Arc<Counters>,
}

impl Handle {
    /// Says what was heard. Answers when it is committed; the head follows with an event.
    ///
    /// # Errors
    /// `Input` when the target holds no window that can be learned, or `by` is [`ORDINARY`]; `Missing` when no such event is held; `Busy` when too many labels wait, or the daemon has stopped; as
    /// [`Learning::learn`].
    pub fn label(&self, target: Target, labels: LabelSet, by: &str) -> Result<Answered> {
        if by == ORDINARY {
            return Err(Error::new(ErrorKind::Input, "nobody may be called so: it is what undo passes over")
                .at("by")
                .found(format!("{by:?}"))
                .cure("give another name"));
        }
        self.ask(|reply| Command::Label { target, labels, by: by.into(), reply })?
    }

    /// Takes the newest labels back.
    ///
    /// # Errors
    /// As [`Learning::undo`]; `Busy` as for labels.
    pub fn undo(&self, labels: usize, by: &str) -> Result<Answered> {
        self.ask(|reply| Command::Undo { labels, by: by.into(), reply })?
    }

    /// What a person was asked and has not answered yet, the most unsure first: windows that are still held.
    ///
    /// # Errors
    /// `Busy` when the daemon has stopped.
    pub fn questions(&self) -> Result<Vec<Question>> {
        self.ask(|reply| Command::Questions { reply })
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// `Busy` when the daemon has stopped.
    pub fn counts(&self) -> Result<Counts> {
        self.ask(|reply| Command::Counts { reply })
    }

    /// One window in so many is answered now.
    pub fn stride(&self) -> u32 {
        self.counters.stride.load(Relaxed) as u32
    }

    /// Does what was asked from outside, by `usual` where nobody is named.
    ///
    /// # Errors
    /// As [`Handle::label`] and [`Handle::undo`].
    pub fn answer(&self, request: Request, usual: &str) -> Result<Answered> {
        let by = |by: String| if by.is_empty() { usual.to_owned() } else { by };
        match request {
            Request::Label { target, labels, by: who } => self.label(target, labels, &by(who)),
            Request::Undo { labels, by: who } => self.undo(labels, &by(who)),
        }
    }

    /// Takes another rule, other questions and another rate of background from the next window on; the other settings stay as they are.
    ///
    /// # Errors
    /// `Config` when the rule is wrong, `Busy` when the daemon has stopped.
    pub fn configure(&self, settings: Settings) -> Result<()> {
        settings.rule.validate()?;
        self.ask(|reply| Command::Configure { settings, reply })
    }

    /// Goes on with another adapter of the same space, whose head serves from the next window on; what the one before had learned is
    /// committed first.
    ///
    /// # Errors
    /// `Mismatch` when its space is another; as [`Learning::close`], and the one before goes on; `Busy` as for labels.
    pub fn swap(&self, learning: Learning) -> Result<()> {
        self.ask_within(SWAP, |reply| Command::Swap { learning: Box::new(learning), reply })?
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T> {
        self.ask_within(ANSWER, command)
    }

    fn ask_within<T>(&self, time: Duration, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        let sent = self.commands.try_send(command(reply));
        self.telling.unpark();
        match sent {
            Ok(()) => answer.recv_timeout(time).map_err(|e| match e {
                RecvTimeoutError::Disconnected => stopped(),
                RecvTimeoutError::Timeout => {
                    let error = Error::new(ErrorKind::Busy, "the daemon does not answer").expected(format!("within {} s", time.as_secs()));
                    error.cure("look whether the disk hangs; what was said may still be done")
                }
            }),
            Err(TrySendError::Full(_)) => Err(Error::new(ErrorKind::Busy, "too many commands wait").cure("try again in a moment")),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Busy, "the daemon has stopped").cure("start it again")
}

/// Live sound being heard and learned. Dropping it stops it.
pub struct Daemon {
    handle: Handle,
    stop: Arc<AtomicBool>,
    microphones: Vec<Microphone>,
    threads: Vec<JoinHandle<()>>,
    learning: Option<JoinHandle<Result<()>>>,
}

impl Daemon {
    /// Hears `sources`, each through an embedder of its own, and learns into `learning`.
    ///
    /// # Errors
    /// `Config` when there is no source, or not an embedder for each; `Mismatch` when one is not of the adapter's dimension; as
    /// [`crate::store::Adapter::quantiser`]; `Storage` when the system gives no thread.
    pub fn start(
        settings: &Settings,
        sources: Vec<Source>,
        embedders: Vec<Embedder>,
        learning: Learning,
        sinks: Vec<Box<dyn Sink>>,
    ) -> Result<Daemon> {
        if sources.is_empty() || sources.len() != embedders.len() {
            return Err(Error::new(ErrorKind::Config, "live sound needs a source, and an embedder for each")
                .expected(format!("{} embedders", sources.len()))
                .found(embedders.len())
                .cure("name a microphone"));
        }
        settings.rule.validate()?;
        let quantiser = learning.adapter().quantiser()?;
        let dims = || embedders.iter().map(|e| e.manifest().embedding.dim as usize);
        if let Some(other) = dims().find(|dim| *dim != quantiser.dim()) {
            return Err(Error::new(ErrorKind::Mismatch, "the backbone and the adapter have different dimensions")
                .expected(quantiser.dim())
                .found(other)
                .cure("use the backbone that the adapter was made for"));
        }
        let audio = &embedders[0].manifest().audio;
        let least_stride = if settings.nice { audio.window_samples.div_ceil(audio.hop_samples).min(STRIDE_MAX) } else { 1 };
        let counters = Arc::new(Counters::default());
        counters.stride.store(u64::from(least_stride), Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let dim = quantiser.dim();
        let windows = Arc::new(ArrayQueue::new(WINDOWS));
        let (mut free, free_out) = RingBuffer::new(WINDOWS);
        (0..WINDOWS).for_each(|_| drop(free.push(LiveWindow::empty(dim))));
        let (signals, signals_out) = RingBuffer::new(WINDOWS);
        let (columns, columns_out) = RingBuffer::new(COLUMNS);
        let (heads, heads_out) = RingBuffer::new(HEADS);
        let (worn, worn_out) = RingBuffer::new(ERRANDS + 2 * HEADS);
        let (commands, commands_out) = sync_channel(ERRANDS);
        let (errands, errands_out) = sync_channel(ERRANDS);
        let (news, news_out) = sync_channel(2 * ERRANDS);

        let (hop_s, is_nice) = (hop_s(&embedders[0]), settings.nice);
        let (mut readers, mut heard, mut microphones) = (Vec::new(), Vec::new(), Vec::new());
        for (source, embedder) in sources.into_iter().zip(embedders) {
            heard.push((source.name, source.events, source.microphone.as_ref().map(Microphone::counting)));
            readers.push((source.reader, embedder, source.is_live, source.tap));
            microphones.extend(source.microphone);
        }
        let telling = Telling::new(
            settings,
            (dim, hop_s),
            heard,
            sinks,
            telling::Ends {
                windows: windows.clone(),
                free,
                signals: signals_out,
                columns: columns_out,
                commands: commands_out,
                errands,
                news: news_out,
                counters: counters.clone(),
            },
        );
        let telling = spawn("telling", false, move || telling.run())?;
        let teller = telling.thread().clone();
        let learning = {
            let (quantiser, stop, teller) = (quantiser.clone(), stop.clone(), teller.clone());
            let ends = learning::Ends { errands: errands_out, news, heads, worn: worn_out, counters: counters.clone(), teller };
            let hop = Duration::from_secs_f64(hop_s * f64::from(least_stride));
            spawn("learning", is_nice, move || learning::run(learning, &quantiser, hop, ends, &stop))?
        };
        let counted = counters.clone();
        let inference = {
            let ends =
                inference::Ends { windows, free: free_out, signals, columns, heads: heads_out, worn, teller: teller.clone(), counters };
            let inference = Inference::new(readers, quantiser, (hop_s, least_stride), settings.picture, ends);
            let stop = stop.clone();
            spawn("inference", is_nice, move || inference.run(&stop))?
        };
        let handle = Handle { commands, telling: teller, counters: counted };
        Ok(Daemon { handle, stop, microphones, threads: vec![inference, telling], learning: Some(learning) })
    }

    /// What speaks to it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether all sources have ended, as files do.
    pub fn has_ended(&self) -> bool {
        self.threads.first().is_none_or(JoinHandle::is_finished)
    }

    /// Whether everything still runs.
    ///
    /// # Errors
    /// `Storage` when a thread has failed: stop the daemon, and start it again.
    pub fn check(&self) -> Result<()> {
        let ended = |thread: &JoinHandle<()>| thread.is_finished();
        if self.threads.iter().any(ended) || self.learning.as_ref().is_some_and(JoinHandle::is_finished) {
            return Err(Error::new(ErrorKind::Storage, "a thread of the daemon has ended").cure("see the log, and start it again"));
        }
        Ok(())
    }

    /// Stops the microphones, tells what is still heard, commits, and ends the threads.
    ///
    /// # Errors
    /// As [`Learning::close`].
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.microphones.iter_mut().for_each(Microphone::stop);
        // What was captured before is seen by whoever sees this.
        self.stop.store(true, Release);
        let failed = |what: &str| {
            Error::new(ErrorKind::Storage, "a thread of the daemon failed").at(what).cure("see the log; what was acknowledged is kept")
        };
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                ended = Err(failed(&name));
            }
        }
        let learned = self.learning.take().map_or(Ok(()), |learning| learning.join().unwrap_or_else(|_| Err(failed("learning"))));
        learned.and(ended)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            log::error!("{e}");
        }
    }
}

impl LiveWindow {
    fn empty(dim: usize) -> Box<LiveWindow> {
        let (place, latent) = (Place::default(), vec![0; dim]);
        Box::new(LiveWindow { place, latent, answer: None, head: 0, took_ns: 0 })
    }
}

fn hop_s(embedder: &Embedder) -> f64 {
    let audio = &embedder.manifest().audio;
    f64::from(audio.hop_samples) / f64::from(audio.rate_hz)
}

/// How nice threads are that let others go first.
const NICE: i32 = 10;

fn spawn<T: Send + 'static>(name: &str, is_nice: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let work = move || {
        // Of the calling thread alone, on Linux.
        if is_nice && let Err(e) = rustix::process::setpriority_process(None, NICE) {
            log::warn!("a thread cannot be made nice: {e}");
        }
        work()
    };
    let failed = |e| Error::new(ErrorKind::Storage, "the system gives no thread").at(name).because(e).cure("end other programs");
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(failed)
}
