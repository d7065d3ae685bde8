//! What the screen shows, and what each thing that happens changes in it. It has no clock, no thread and no terminal: time comes with what
//! happens, and what is to be done goes out as a [`Command`].

use std::collections::BTreeSet;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use wheatear::daemon::{Counts, Target};
use wheatear::event::{Event, Level, What};
use wheatear::learn::{ClassName, LabelSet, label_text};
use wheatear::live::picture::Column;
use wheatear::store::ORDINARY;
use wheatear::units::Moment;
use wheatear::{Error, Result};

use super::super::command::{Answer, Command};
use super::entry::{Entry, Typed};
use super::notices::Notices;
use super::sound::Sound;
use super::told::{Key, Told};

/// Labels of ours that an undo can mark as taken back.
const LABELS: usize = 256;
/// Lines that a page is.
const PAGE: isize = 10;
/// How far back a label reaches, by its key.
const LAST_S: u64 = 3;
const LONG_LAST_S: u64 = 10;

/// Something that happens.
pub enum Input {
    /// An event of the daemon.
    Event(Box<Event>),
    /// 50 ms of the sound of a microphone.
    Sound(u32, Column),
    /// A window of a microphone was answered.
    Window(u32, Guesses),
    /// Classes that the adapter knows.
    Classes(Vec<String>),
    /// A key.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// What a command came to.
    Answer(Command, Result<Answer>),
    /// A line of the log.
    Log(String),
    /// Time passes, or the window has another size.
    Tick,
}

/// What a window may be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guesses {
    /// Classes, the surest first.
    pub classes: Vec<(String, f32)>,
    /// Probability of being of no known class, where that is told.
    pub unknown: Option<f32>,
    /// Too quiet to be anything.
    pub is_silent: bool,
}

/// A microphone.
#[derive(Debug, Default)]
pub struct Heard {
    /// Its name.
    pub name: String,
    /// Its sound.
    pub sound: Sound,
    /// Its newest window; none before the first.
    pub guesses: Option<Guesses>,
}

/// What lies over the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The keys.
    Help,
    /// The notices.
    Notices,
}

/// The last thing that was asked for, and what came of it.
#[derive(Debug, Default)]
pub struct Last {
    /// What came of it.
    pub text: String,
    /// Generation from which on a head knows it.
    generation: Option<u64>,
    /// Whether labels were taken back.
    is_undone: bool,
    /// Whether it was refused.
    pub is_refused: bool,
}

/// What a head is to a label.
#[derive(Debug, Clone, Copy)]
enum Served {
    /// It was tried and serves, so many ms after the label.
    Tried(f64),
    /// It serves until the one that is tried is there.
    Untried(f64),
    /// The one before serves on.
    Refused,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub struct Model {
    /// Adapter, backbone and where the page is served.
    pub title: Vec<String>,
    /// The microphones.
    pub heard: Vec<Heard>,
    /// Number of the one whose picture and guesses are shown, and which labels of the last seconds are about.
    pub microphone: usize,
    /// What was told.
    pub told: Told,
    /// Notices.
    pub notices: Notices,
    /// Counts.
    pub counts: Option<Counts>,
    /// The label that is being typed.
    pub entry: Option<Entry>,
    /// What lies over the screen.
    pub over: Option<Over>,
    /// Classes that are known.
    pub classes: Vec<String>,
    /// Now.
    pub now: Moment,
    last: Last,
    /// Generation of the newest head, and what was said of it.
    served: Option<(u64, Served)>,
    /// Labels that were given, the newest last: the line, if it was one's; none of somebody else. And their windows.
    labels: Vec<(Option<Key>, u64)>,
    by: String,
}

impl Model {
    /// Of microphones with these names; labels are given by `by`.
    pub fn new(title: Vec<String>, microphones: &[String], by: &str) -> Model {
        let heard = microphones.iter().map(|name| Heard { name: name.clone(), ..Heard::default() }).collect();
        Model {
            title,
            heard,
            microphone: 0,
            told: Told::default(),
            notices: Notices::default(),
            counts: None,
            entry: None,
            over: None,
            classes: Vec::new(),
            now: Moment::UNKNOWN,
            last: Last::default(),
            served: None,
            labels: Vec::new(),
            by: by.into(),
        }
    }

    /// Takes what happens, and says what is to be done.
    pub fn update(&mut self, now: Moment, input: Input) -> Option<Command> {
        self.now = now;
        match input {
            Input::Event(event) => self.event(&event),
            Input::Sound(n, column) => {
                if let Some(heard) = self.heard.get_mut(n as usize) {
                    heard.sound.push(&column, now.monotonic_ns);
                }
            }
            Input::Window(n, guesses) => {
                if let Some(heard) = self.heard.get_mut(n as usize) {
                    heard.guesses = Some(guesses);
                }
            }
            Input::Classes(classes) => self.classes = classes,
            Input::Key(key) => return self.key(key),
            Input::Paste(text) => {
                if let Some(entry) = &mut self.entry {
                    entry.paste(&text);
                }
            }
            Input::Answer(command, answer) => self.answer(&command, answer),
            Input::Log(line) => {
                let level = if line.starts_with("[ERROR") { Level::Error } else { Level::Warning };
                self.notices.push(now, level, line);
            }
            Input::Tick => {}
        }
        None
    }

    /// What came of the last thing that was asked for.
    pub fn last(&self) -> (String, bool) {
        let served = self.served.filter(|(served, _)| self.last.generation.is_some_and(|g| *served >= g));
        let after = match served.map(|(_, served)| served) {
            None => String::new(),
            Some(Served::Tried(ms)) if self.last.is_undone => format!("; the head without it serves after {ms:.0} ms"),
            Some(Served::Tried(ms)) => format!("; knows it after {ms:.0} ms"),
            Some(Served::Untried(ms)) => format!("; answers with it after {ms:.0} ms, until the new head is tried"),
            Some(Served::Refused) => "; the new head was refused, the one before serves on (N)".to_owned(),
        };
        (format!("{}{after}", self.last.text), self.last.is_refused)
    }

    fn event(&mut self, event: &Event) {
        match &event.what {
            What::Serving { took_ms, untried, refused, .. } => {
                let served = match refused {
                    None if *untried => Served::Untried(*took_ms),
                    None => Served::Tried(*took_ms),
                    Some(why) => {
                        self.notices.push(self.now, Level::Warning, format!("the new head was refused, the one before serves on: {why}"));
                        Served::Refused
                    }
                };
                self.served = Some((event.generation, served));
            }
            What::Notice { level, source, text } => self.notices.push(self.now, *level, format!("{source}: {text}")),
            // Which undo passes over.
            What::Learned { by, .. } if by == ORDINARY => {}
            What::Learned { classes, rows, by, .. } if *by != self.by => {
                self.note_label(None, *rows);
                let classes = if classes.is_empty() { "nothing".to_owned() } else { classes.join(", ") };
                self.notices.push(self.now, Level::Info, format!("{by} said {classes}: {}", windows(*rows)));
            }
            What::Undone { rows, by, .. } if *by != self.by => {
                self.forget_labels(*rows);
                self.notices.push(self.now, Level::Info, format!("{by} took {} back", windows(*rows)));
            }
            what => self.told.take(what, self.now.monotonic_ns),
        }
    }

    fn answer(&mut self, command: &Command, answer: Result<Answer>) {
        let (text, generation) = match (command, answer) {
            (_, Ok(Answer::Counts(counts))) => {
                self.counts = Some(counts);
                return;
            }
            (_, Ok(Answer::Questions(_))) => return,
            // They are asked for again.
            (Command::Counts, Err(_)) => return,
            (Command::Label(target, labels), Ok(Answer::Done(done))) => {
                let (key, said) = (Key::of(*target), said(labels));
                if let Some(key) = key {
                    self.told.say(key, Some(said.clone()));
                }
                self.note_label(key, done.rows);
                (format!("learned {said}: {}{}", windows(done.rows), durable(done.durable)), done.generation)
            }
            (_, Ok(Answer::Done(done))) => {
                self.forget_labels(done.rows);
                (format!("took {} back{}", windows(done.rows), durable(done.durable)), done.generation)
            }
            (_, Err(e)) => return self.refuse(&e),
        };
        self.last = Last { text, generation: Some(generation), is_undone: matches!(command, Command::Undo(_)), is_refused: false };
    }

    fn refuse(&mut self, error: &Error) {
        self.last = Last { text: format!("refused: {error}"), is_refused: true, ..Last::default() };
    }

    fn remark(&mut self, text: &str) {
        self.last = Last { text: text.into(), ..Last::default() };
    }

    /// The newest labels, of so many windows, were taken back.
    fn forget_labels(&mut self, windows: u64) {
        let mut left = windows;
        while left > 0
            && let Some((key, rows)) = self.labels.pop()
        {
            if let Some(key) = key {
                self.told.say(key, None);
            }
            left = left.saturating_sub(rows);
        }
    }

    fn note_label(&mut self, key: Option<Key>, windows: u64) {
        if self.labels.len() == LABELS {
            self.labels.remove(0);
        }
        self.labels.push((key, windows));
    }

    fn key(&mut self, key: KeyEvent) -> Option<Command> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Command::Quit);
        }
        if let Some(mut entry) = self.entry.take() {
            match entry.key(key, &self.classes) {
                Typed::Open => self.entry = Some(entry),
                Typed::Left => {}
                Typed::Said(labels) => return Some(self.label(entry.target, labels)),
            }
            return None;
        }
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return None;
        }
        if self.over.take().is_some() && key.code != KeyCode::Char('Q') {
            return None;
        }
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.told.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.told.step(1),
            KeyCode::PageUp => self.told.step(-PAGE),
            KeyCode::PageDown => self.told.step(PAGE),
            KeyCode::End => self.told.step(isize::MAX),
            KeyCode::Home | KeyCode::Esc => self.told.follow(),
            KeyCode::Char('q') => return self.next_question(),
            KeyCode::Char('y') => return self.say_guess(0, false),
            KeyCode::Char('x') => return self.say_guess(0, true),
            KeyCode::Char(c @ '1'..='3') => return self.say_guess(c as usize - '1' as usize, false),
            KeyCode::Char('n') => return self.marked().map(|key| self.label(key.target(), LabelSet::background())),
            KeyCode::Char('t') | KeyCode::Enter => {
                if let Some(key) = self.marked() {
                    let about = match key {
                        Key::Event(id) => format!("event {id} is"),
                        Key::Window(_) => "that was".to_owned(),
                    };
                    self.entry = Some(Entry::new(key.target(), about));
                }
            }
            KeyCode::Char(' ' | 'l') => self.enter_last(LAST_S),
            KeyCode::Char('L') => self.enter_last(LONG_LAST_S),
            KeyCode::Char('u') => {
                self.remark("the last label is being taken back");
                return Some(Command::Undo(1));
            }
            KeyCode::Char('m') => self.microphone = (self.microphone + 1) % self.heard.len().max(1),
            KeyCode::Char('N') => self.over = Some(Over::Notices),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.over = Some(Over::Help),
            KeyCode::Char('Q') => return Some(Command::Quit),
            _ => {}
        }
        None
    }

    fn next_question(&mut self) -> Option<Command> {
        if !self.told.next_question() {
            self.remark("nothing is asked");
        }
        None
    }

    /// The marked line, where the person saw that it is.
    fn marked(&mut self) -> Option<Key> {
        let is_seen = self.told.is_seen(self.now.monotonic_ns);
        let key = self.told.marked().map(|line| line.key);
        match key {
            Some(_) if !is_seen => self.remark("another line has just come: look which is marked, and press again"),
            None => self.remark("nothing was heard yet; l labels the last seconds"),
            Some(_) => {}
        }
        key.filter(|_| is_seen)
    }

    /// Says of the marked line that it is this guess, or not.
    fn say_guess(&mut self, n: usize, is_not: bool) -> Option<Command> {
        let key = self.marked()?;
        let Some((class, _)) = self.told.marked().and_then(|line| line.guesses.get(n)) else {
            self.remark("there is no such guess; t types a label");
            return None;
        };
        let labels = ClassName::new(class).and_then(|class| match is_not {
            false => Ok(LabelSet::single(class)),
            true => LabelSet::new(BTreeSet::new(), BTreeSet::from([class])),
        });
        match labels {
            Ok(labels) => Some(self.label(key.target(), labels)),
            Err(e) => {
                self.refuse(&e);
                None
            }
        }
    }

    /// Begins a label of the last seconds before now.
    fn enter_last(&mut self, seconds: u64) {
        let end_ns = self.now.monotonic_ns;
        let source = u32::try_from(self.microphone).ok();
        let target = Target::Span { source, begin_ns: end_ns.saturating_sub(seconds * 1_000_000_000), end_ns };
        let until = super::super::lines::clock_time(&self.now);
        self.entry = Some(Entry::new(target, format!("the {seconds} s until {until} are")));
    }

    fn label(&mut self, target: Target, labels: LabelSet) -> Command {
        self.remark(&format!("{} is being learned", said(&labels)));
        Command::Label(target, labels)
    }
}

fn said(labels: &LabelSet) -> String {
    if *labels == LabelSet::background() { "nothing".into() } else { label_text::text(labels) }
}

fn windows(rows: u64) -> String {
    if rows == 1 { "1 window".into() } else { format!("{rows} windows") }
}

fn durable(is_durable: bool) -> &'static str {
    if is_durable { ", durable" } else { ", not durable yet" }
}
