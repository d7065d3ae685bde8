//! Sound of what was heard and of what was asked about, in a folder: off unless it is asked for, bounded, and encrypted where a key is given.
//!
//! Inference passes its blocks on through a [`Tap`](crate::audio::capture::feed::Tap); a thread here keeps the last seconds of each
//! microphone, and cuts a clip when an event has ended or is as long as a clip may be. Encryption is to a public key of age
//! (<https://age-encryption.org/v1>): who takes the box cannot open what is on it. Limits: 16 bits, one channel; a clip ends at a gap; what
//! finds no room on its way is missing in a clip, not in what is heard.

mod folder;
mod sound;
mod wav;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use age::x25519::Recipient;

use crate::audio::capture::Reader;
use crate::event::{Event, Level, Sink, What};
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};
use folder::Folder;
use sound::Sound;
use wav::About;

/// Events that wait for their clip.
const WAITING: usize = 256;
/// How often the thread takes sound.
const LOOK: Duration = Duration::from_millis(100);
/// How long after a window has ended its event may be told, in s.
const LATE_S: f64 = 3.0;
/// How long clips that wait at the end may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is saved, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder; made when it is not there.
    pub folder: PathBuf,
    /// Bytes that all clips take at most.
    pub budget_bytes: u64,
    /// Sound before an event and behind it, in s.
    pub margin_s: f64,
    /// Sound of an event, in s; of a longer one its begin.
    pub max_s: f64,
    /// Classes that are saved; all, and questions, when none are named.
    pub classes: Vec<String>,
    /// Who may open them; everyone when nobody is named.
    pub recipient: Option<String>,
    /// How long after the begin of an event it may be told, in s: a window, and what smoothing takes.
    pub decided_s: f64,
}

impl Settings {
    /// Who may open the clips.
    ///
    /// # Errors
    /// `Config` when the key is none.
    pub fn recipient(&self) -> Result<Option<Recipient>> {
        self.recipient.as_deref().map(recipient).transpose()
    }
}

/// The public key of age that `text` is.
///
/// # Errors
/// `Config` when it is none; a secret key is not repeated in the error.
pub fn recipient(text: &str) -> Result<Recipient> {
    text.trim().parse().map_err(|why: &str| {
        let error = Error::new(ErrorKind::Config, "clips cannot be encrypted with this key").at("clips.recipient");
        error.expected("a public key of age, age1...").found(why).cure("make a pair with age-keygen, and give its public key")
    })
}

/// A clip that is wanted.
#[derive(Debug)]
struct Wanted {
    about: About,
    source: usize,
    /// None while the event goes on.
    end_ns: Option<u64>,
}

/// Saves clips. Dropping it saves those that wait, for a limited time.
pub struct Clips {
    sources: Vec<String>,
    settings: Settings,
    queue: Option<SyncSender<Wanted>>,
    counts: Arc<Counts>,
    ended: Receiver<()>,
}

/// The thread.
struct Saving {
    readers: Vec<(Reader, Sound)>,
    block: Vec<f32>,
    wanted: Receiver<Wanted>,
    waiting: VecDeque<Wanted>,
    folder: Folder,
    settings: Settings,
    recipient: Option<Recipient>,
    counts: Arc<Counts>,
    /// Frames that found no room on their way, as last looked at.
    lost: u64,
    works: bool,
}

/// What became of the clips.
#[derive(Debug, Default)]
pub struct Counts {
    saved: AtomicU64,
    failed: AtomicU64,
    news: Mutex<Option<(Level, String)>>,
}

impl Counts {
    /// Clips that were saved.
    pub fn saved(&self) -> u64 {
        self.saved.load(Relaxed)
    }

    /// Clips that could not be.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

impl Clips {
    /// Saves clips of `sources`: the names of microphones, with the sound that a tap passes on.
    ///
    /// # Errors
    /// `Config` when the key is none; `Storage` when the folder cannot be used, or the system gives no thread.
    pub fn start(settings: Settings, sources: Vec<(String, Reader)>) -> Result<Clips> {
        let recipient = settings.recipient()?;
        let folder = Folder::open(&settings.folder, settings.budget_bytes)?;
        let ((queue, wanted), (ending, ended)) = (sync_channel(WAITING), sync_channel(0));
        let keep_s = settings.margin_s + settings.max_s + settings.decided_s + LATE_S;
        let (names, readers): (Vec<_>, Vec<_>) = sources.into_iter().map(|(name, reader)| (name, (reader, Sound::new(keep_s)))).unzip();
        let counts = Arc::<Counts>::default();
        let mut saving = Saving {
            block: readers.first().map(|(reader, _)| reader.buffer()).unwrap_or_default(),
            readers,
            wanted,
            waiting: VecDeque::new(),
            folder,
            settings: settings.clone(),
            recipient,
            counts: counts.clone(),
            lost: 0,
            works: true,
        };
        let work = move || {
            saving.run();
            drop::<SyncSender<()>>(ending);
        };
        let none = |e| Error::new(ErrorKind::Storage, "the system gives no thread").at("clips").because(e).cure("end other programs");
        std::thread::Builder::new().name("clips".into()).spawn(work).map_err(none)?;
        Ok(Clips { sources: names, settings, queue: Some(queue), counts, ended })
    }

    /// What became of the clips; stays readable when this has been given away.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    fn wanted(&self, event: &Event) -> Option<Wanted> {
        let (source, about, end_ns) = match &event.what {
            What::Began { id, source, begin, class, probability, .. } => {
                (source, self.about(*id, source, Some(class), *probability, begin)?, None)
            }
            What::Heard { id: Some(id), source, span: Some((begin, end)), class, probability, .. } => {
                (source, self.about(*id, source, Some(class), *probability, begin)?, Some(end.monotonic_ns))
            }
            What::Asked { window, source, span: (begin, end), .. } => {
                (source, self.about(*window, source, None, 0.0, begin)?, Some(end.monotonic_ns))
            }
            _ => return None,
        };
        Some(Wanted { about, source: self.sources.iter().position(|s| s == source)?, end_ns })
    }

    fn about(&self, number: u64, source: &str, class: Option<&String>, probability: f32, begin: &Moment) -> Option<About> {
        let classes = &self.settings.classes;
        let is_wanted = classes.is_empty() || class.is_some_and(|class| classes.contains(class));
        is_wanted.then(|| About { number, source: source.to_owned(), class: class.cloned(), probability, begin: *begin })
    }
}

impl Sink for Clips {
    fn take(&mut self, event: &Event) -> Result<()> {
        let (Some(wanted), Some(queue)) = (self.wanted(event), &self.queue) else { return Ok(()) };
        // The end of an event alone is no clip: that of its begin is as long as a clip may be, or was counted as lost.
        let is_clip = wanted.end_ns.is_none() || wanted.about.class.is_none();
        let sent = queue.try_send(wanted);
        if !is_clip && !matches!(sent, Err(TrySendError::Disconnected(_))) {
            return Ok(());
        }
        let error = |kind, what, cure: &str| {
            self.counts.failed.fetch_add(1, Relaxed);
            Err(Error::new(kind, what).at(self.settings.folder.display()).cure(cure))
        };
        match sent {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                error(ErrorKind::Limit, "clips are wanted faster than they are saved", "look whether the disk is slow")
            }
            Err(TrySendError::Disconnected(_)) => error(ErrorKind::Storage, "clips are saved no more", "see the log, and start again"),
        }
    }

    fn news(&mut self) -> Option<(Level, String)> {
        self.counts.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lost(&self) -> u64 {
        self.counts.failed()
    }
}

impl Drop for Clips {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            log::error!("clips were given {} s to end: some may be lost", FAREWELL.as_secs());
        }
    }
}

impl Saving {
    fn run(&mut self) {
        loop {
            let got = self.wanted.recv_timeout(LOOK);
            // The sound first: an event is told after its sound was passed on.
            self.listen();
            let ends = matches!(got, Err(RecvTimeoutError::Disconnected));
            got.into_iter().for_each(|wanted| self.want(wanted));
            while let Ok(wanted) = self.wanted.try_recv() {
                self.want(wanted);
            }
            self.save(ends);
            if ends {
                return;
            }
        }
    }

    fn listen(&mut self) {
        for (reader, sound) in &mut self.readers {
            while let Some(header) = reader.next(&mut self.block) {
                sound.push(&header, &self.block);
            }
        }
        let lost = self.readers.iter().map(|(reader, _)| reader.lost()).sum();
        if lost > self.lost {
            log::warn!("{} frames are missing in clips: they are saved too slowly", lost - self.lost);
            self.lost = lost;
        }
    }

    /// An event that has ended takes the place of its begin.
    fn want(&mut self, wanted: Wanted) {
        let is_same = |w: &Wanted| w.end_ns.is_none() && w.source == wanted.source && w.about.number == wanted.about.number;
        match self.waiting.iter_mut().find(|w| is_same(w)) {
            Some(begun) => *begun = wanted,
            // Its end alone: the begin was as long as a clip may be, and is saved.
            None if wanted.about.class.is_some() && wanted.end_ns.is_some() => {}
            None => {
                if self.waiting.len() == WAITING && self.waiting.pop_front().is_some() {
                    self.done(Err(Error::new(ErrorKind::Limit, "clips are wanted faster than they are saved")));
                }
                self.waiting.push_back(wanted);
            }
        }
    }

    /// Saves what is complete; everything at the end.
    fn save(&mut self, ends: bool) {
        let ns = |s: f64| (s * 1e9) as u64;
        let (margin, max) = (ns(self.settings.margin_s), ns(self.settings.max_s));
        for wanted in std::mem::take(&mut self.waiting) {
            let begin = wanted.about.begin.monotonic_ns;
            let end = wanted.end_ns.unwrap_or(u64::MAX).min(begin + max) + margin;
            let heard = self.readers[wanted.source].1.end_ns();
            // Where sound has stopped nothing more comes.
            let is_over = wanted.end_ns.is_some() && crate::clock::since_boot_ns() > end + ns(LATE_S);
            if heard < end && !ends && !is_over {
                self.waiting.push_back(wanted);
                continue;
            }
            let saved = self.save_one(&wanted, begin.saturating_sub(margin), end);
            self.done(saved);
        }
    }

    /// Counts a clip; the first of a row that fails is told.
    fn done(&mut self, saved: Result<()>) {
        let counter = if saved.is_ok() { &self.counts.saved } else { &self.counts.failed };
        counter.fetch_add(1, Relaxed);
        let news = match (std::mem::replace(&mut self.works, saved.is_ok()), saved) {
            (true, Err(e)) => (Level::Error, format!("{e}; clips are lost until one can be saved again")),
            (false, Ok(())) => (Level::Info, "clips are saved again".to_owned()),
            _ => return,
        };
        *self.counts.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
    }

    fn save_one(&mut self, wanted: &Wanted, begin_ns: u64, end_ns: u64) -> Result<()> {
        let cut = self.readers[wanted.source].1.cut(begin_ns, end_ns);
        let gone = || Error::new(ErrorKind::Limit, "the sound of an event is not held any more").at(&wanted.about.source);
        let cut = cut.ok_or_else(|| gone().cure("look whether the disk or the board is slow"))?;
        let earlier_ms = (wanted.about.begin.monotonic_ns as i128 - cut.begin_ns as i128).div_euclid(1_000_000) as i64;
        let wall_ms = wanted.about.begin.wall_ms.map(|wall| wall.saturating_sub(earlier_ms));
        let begin = Moment { monotonic_ns: cut.begin_ns, wall_ms, ..wanted.about.begin };
        let bytes = wav::file(&cut, &wanted.about, &begin, self.recipient.as_ref())?;
        self.folder.put(&folder::name(&wanted.about, &begin, self.recipient.is_some()), &bytes).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::capture::feed::Feed;

    const S: u64 = 1_000_000_000;

    fn moment(ns: u64) -> Moment {
        Moment { monotonic_ns: ns, wall_ms: Some(1_000_000 + (ns / 1_000_000) as i64), ..Moment::UNKNOWN }
    }

    fn event(what: What) -> Event {
        Event::new(Moment::UNKNOWN, 1, what)
    }

    fn began(id: u64, class: &str, begin_ns: u64) -> Event {
        let (source, class) = ("yard".to_owned(), class.to_owned());
        event(What::Began { id, source, begin: moment(begin_ns), class, probability: 0.9, unknown: None })
    }

    fn heard(id: u64, class: &str, begin_ns: u64, end_ns: u64) -> Event {
        let (source, class, span) = ("yard".to_owned(), class.to_owned(), Some((moment(begin_ns), moment(end_ns))));
        event(What::Heard { id: Some(id), source, begin_s: 0.0, end_s: 0.0, span, class, probability: 0.9, unknown: None })
    }

    fn settings(folder: &std::path::Path) -> Settings {
        Settings {
            folder: folder.to_owned(),
            budget_bytes: 1 << 20,
            margin_s: 0.5,
            max_s: 2.0,
            classes: Vec::new(),
            recipient: None,
            decided_s: 1.0,
        }
    }

    /// Names without the time, and seconds, of the clips that there are.
    fn clips(folder: &std::path::Path) -> Vec<(String, f64)> {
        let mut clips: Vec<(String, f64)> = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().split_once('_').unwrap().1.to_owned();
            let reader = hound::WavReader::open(&path).unwrap();
            clips.push((name, f64::from(reader.duration()) / f64::from(reader.spec().sample_rate)));
        }
        clips.sort_by(|a, b| a.0.cmp(&b.0));
        clips
    }

    #[test]
    fn events_and_questions_are_saved_with_a_margin_and_long_ones_by_their_begin() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, reader) = Feed::new(8000, 8000 * 20);
        let mut saving = Clips::start(settings(dir.path()), vec![("yard".into(), reader)]).unwrap();
        // Ten seconds, captured from second 100 on.
        (0..100).for_each(|n| feed.push(&[0.25; 800], 100 * S + n * S / 10));
        let asked =
            What::Asked { window: 3, source: "yard".into(), span: (moment(106 * S), moment(107 * S)), guesses: vec![], unknown: None };
        let other = What::Notice { level: Level::Info, source: "yard".into(), text: String::new() };
        for event in [
            began(1, "wren", 104 * S),
            heard(1, "wren", 104 * S, 105 * S),
            began(2, "robin", 105 * S),
            event(asked),
            event(other),
            heard(2, "robin", 105 * S, 109 * S),
            heard(9, "no begin", 105 * S, 106 * S),
        ] {
            saving.take(&event).unwrap();
        }
        drop(saving);
        let expected = [("1_wren.clip.wav", 2.0), ("2_robin.clip.wav", 3.0), ("3_unsure.clip.wav", 2.0)];
        assert_eq!(clips(dir.path()), expected.map(|(name, s)| (name.to_owned(), s)));
    }

    #[test]
    fn only_the_classes_that_are_named_are_saved() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, reader) = Feed::new(8000, 8000 * 20);
        let only = Settings { classes: vec!["wren".into()], ..settings(dir.path()) };
        let mut saving = Clips::start(only, vec![("yard".into(), reader)]).unwrap();
        (0..20).for_each(|n| feed.push(&[0.25; 800], 100 * S + n * S / 10));
        for event in [began(1, "robin", 100 * S), began(2, "wren", 100 * S), heard(2, "wren", 100 * S, 101 * S)] {
            saving.take(&event).unwrap();
        }
        drop(saving);
        assert_eq!(clips(dir.path()), [("2_wren.clip.wav".to_owned(), 1.5)]);
    }

    #[test]
    fn a_clip_that_cannot_be_written_is_counted_and_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, reader) = Feed::new(8000, 8000 * 20);
        // Room for half a second of 8 kHz.
        let small = Settings { budget_bytes: 9000, ..settings(dir.path()) };
        let mut saving = Clips::start(small, vec![("yard".into(), reader)]).unwrap();
        (0..20).for_each(|n| feed.push(&[0.25; 800], 100 * S + n * S / 10));
        saving.take(&began(1, "wren", 100 * S)).unwrap();
        saving.take(&heard(1, "wren", 100 * S, 101 * S)).unwrap();
        // Nothing is held of the time before.
        saving.take(&began(2, "robin", 90 * S)).unwrap();
        saving.take(&heard(2, "robin", 90 * S, 91 * S)).unwrap();
        saving.take(&began(3, "jay", 99 * S + S / 2)).unwrap();
        saving.take(&heard(3, "jay", 99 * S + S / 2, 99 * S + S / 2)).unwrap();
        let counts = saving.counts();
        drop(saving);
        assert_eq!((counts.saved(), counts.failed()), (0, 3));
        assert!(counts.news.lock().unwrap().as_ref().is_some_and(|(level, text)| *level == Level::Error && text.contains("clips.max_mib")));
        assert_eq!(clips(dir.path()), []);
    }

    #[test]
    fn a_clip_that_nobody_can_take_is_counted() {
        let ((queue, wanted), (ending, ended)) = (sync_channel(1), sync_channel(0));
        let (dir, counts) = (tempfile::tempdir().unwrap(), Arc::<Counts>::default());
        let mut clips = Clips { sources: vec!["yard".into()], settings: settings(dir.path()), queue: Some(queue), counts, ended };
        clips.take(&began(1, "wren", S)).unwrap();
        assert_eq!((clips.take(&began(2, "wren", S)).unwrap_err().kind(), clips.lost()), (ErrorKind::Limit, 1));
        assert!(clips.take(&heard(1, "wren", S, 2 * S)).is_ok() && clips.take(&heard(2, "wren", S, 2 * S)).is_ok());
        assert_eq!(clips.lost(), 1, "of two events one is not saved");
        drop(wanted);
        assert_eq!((clips.take(&began(3, "wren", S)).unwrap_err().kind(), clips.lost()), (ErrorKind::Storage, 2));
        drop::<SyncSender<()>>(ending);
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_a_secret_one_is_not_repeated() {
        let secret = age::x25519::Identity::generate().to_string();
        let secret: &str = age::secrecy::ExposeSecret::expose_secret(&secret);
        for wrong in ["", "age1", secret] {
            let e = recipient(wrong).unwrap_err();
            assert!(e.kind() == ErrorKind::Config && e.to_string().contains("age-keygen"), "{e}");
            assert!(wrong.len() < 10 || !e.to_string().contains(wrong));
        }
        assert!(recipient(&age::x25519::Identity::generate().to_public().to_string()).is_ok());
    }
}
