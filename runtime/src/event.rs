//! Events: what the runtime tells the world, in one schema for every sink. An event is one JSON object on one line.
//!
//! Readers must ignore keys they do not know; a key's meaning never changes under the same [`EVENT_SCHEMA`].

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::learn::ClassName;
use crate::live::facts::Facts;
use crate::live::picture::Column;
use crate::units::Moment;

/// Number of the event schema.
pub const EVENT_SCHEMA: u32 = 1;

/// Classes that [`What::Serving`] names at most: it comes with each label, and a device may know thousands.
pub const CLASSES_NAMED: usize = 64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`EVENT_SCHEMA`].
    pub schema: u32,
    /// When it was noticed; the sound's own times are in the kind.
    pub at: Moment,
    /// Generation of the adapter it rests on.
    pub generation: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A class began to be heard, and still is. Of live sound alone; `Heard` with the same id follows.
    Began {
        /// Number of the event since the daemon was started; those of one microphone grow.
        id: u64,
        /// Name of the microphone.
        source: String,
        /// When it began.
        begin: Moment,
        /// The class.
        class: String,
        /// Its highest probability so far.
        probability: f32,
        /// Probability of being of no known class, where that is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<f32>,
    },
    /// A class was heard from `begin_s` to `end_s` of its source.
    Heard {
        /// Number of the event, of live sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// File, or name of the microphone.
        source: String,
        /// Begin in seconds from the source's start.
        begin_s: f64,
        /// End in seconds from the source's start.
        end_s: f64,
        /// When it began and ended, as well as the device's clock knew then; of a file where its recorder says when it was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<(Moment, Moment)>,
        /// The most probable class.
        class: String,
        /// Its probability among the known classes; of live sound the highest of a window.
        probability: f32,
        /// Score of being none of them, where it was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<f32>,
    },
    /// A window that no one is sure of: what was it? Of live sound, as often as a person allows.
    Asked {
        /// Number of the window, by which it can be labelled.
        window: u64,
        /// Name of the microphone.
        source: String,
        /// When it began and ended.
        span: (Moment, Moment),
        /// The most probable classes, the surest first.
        guesses: Vec<(String, f32)>,
        /// Probability of being of no known class, where that is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<f32>,
    },
    /// A label was learned.
    Learned {
        /// File, or name of the microphone.
        source: String,
        /// Number of the event that it was said of, if it was of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Begin of the first window that it was said of, and end of the last; of live sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<(Moment, Moment)>,
        /// Classes it was said to be.
        classes: Vec<String>,
        /// Rows learned from it.
        rows: u64,
        /// Who said so.
        by: String,
        /// True when it survives a power cut from now on.
        durable: bool,
    },
    /// The newest labels were taken back.
    Undone {
        /// Rows that the statistics lost.
        rows: u64,
        /// Who said so.
        by: String,
        /// True when it survives a power cut from now on.
        durable: bool,
    },
    /// A head serves from now on: that of the event's generation.
    Serving {
        /// Classes that it knows, [`CLASSES_NAMED`] of them.
        classes: Vec<String>,
        /// How many it knows beside.
        #[serde(default, skip_serializing_if = "is_none")]
        unnamed: u64,
        /// Time that it took from the label on, in ms.
        took_ms: f64,
        /// True when nothing has tried it: it bridges the time until the head of the newest label is there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        untried: bool,
        /// Why the head of the newest labels does not serve, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// Something a person should know: lost samples, a damaged file, a refused head, a provider that is not the one
    /// asked for.
    Notice {
        /// How bad it is.
        level: Level,
        /// File, microphone, provider, adapter.
        source: String,
        /// What happened and what to do next.
        text: String,
    },
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl What {
    /// Which it is, as in the events.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Began { .. } => "began",
            What::Heard { .. } => "heard",
            What::Asked { .. } => "asked",
            What::Learned { .. } => "learned",
            What::Undone { .. } => "undone",
            What::Serving { .. } => "serving",
            What::Notice { .. } => "notice",
        }
    }

    /// The classes that it is about: what was heard or learned, not what a head knows.
    pub fn classes(&self) -> Vec<&str> {
        match self {
            What::Began { class, .. } | What::Heard { class, .. } => vec![class],
            What::Learned { classes, .. } => classes.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// How bad a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something was lost or is worse than asked for.
    Warning,
    /// Something does not work.
    Error,
}

impl Event {
    /// An event of now, resting on `generation`.
    pub fn new(at: Moment, generation: u64, what: What) -> Event {
        Event { schema: EVENT_SCHEMA, at, generation, what }
    }
}

/// Takes events. An error is told once, and the event is lost to this sink alone. Whoever tells waits for its sinks: one that may take
/// long stands behind a queue (`sinks::Behind`).
pub trait Sink: Send {
    /// Takes an event.
    ///
    /// # Errors
    /// Where it could not be taken.
    fn take(&mut self, event: &Event) -> Result<()>;

    /// Is shown what passes and is not kept.
    fn glance(&mut self, _: &Glance<'_>) {}

    /// What a person should know of it since this was asked last: that it fails, or works again. Asked often.
    fn news(&mut self) -> Option<(Level, String)> {
        None
    }

    /// What was lost to it so far: events, or what it makes of them.
    fn lost(&self) -> u64 {
        0
    }

    /// Whether it is to be shown the sound, which is a picture made for it alone.
    fn wants_sound(&self) -> bool {
        false
    }
}

/// What passes while sound is heard, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Glance<'a> {
    /// The sound of a microphone, counted from 0; where `daemon::Settings::picture` asks for it.
    Sound {
        /// Which.
        source: u32,
        /// 50 ms of it.
        column: &'a Column,
    },
    /// A window that was answered.
    Window {
        /// Microphone, counted from 0.
        source: u32,
        /// Its number.
        window: u64,
        /// When it ended.
        end: Moment,
        /// Whether it is too quiet to be anything.
        is_silent: bool,
        /// The most probable classes, the surest first.
        guesses: &'a [(&'a ClassName, f32)],
        /// Probability of being of no known class, where that is told.
        unknown: Option<f32>,
    },
    /// The adapter, at the start and after each label and each undo.
    Adapter(&'a Facts),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_event_is_what_its_json_says() {
        let (source, by, class) = (String::new(), String::new(), String::new());
        let (at, span) = (Moment::UNKNOWN, (Moment::UNKNOWN, Moment::UNKNOWN));
        let all = [
            What::Began { id: 1, source: source.clone(), begin: at, class: class.clone(), probability: 1.0, unknown: None },
            What::Heard { id: None, source: source.clone(), begin_s: 0.0, end_s: 0.0, span: None, class, probability: 1.0, unknown: None },
            What::Asked { window: 1, source: source.clone(), span, guesses: vec![], unknown: None },
            What::Learned { source: source.clone(), id: None, span: None, classes: vec![], rows: 1, by: by.clone(), durable: true },
            What::Undone { rows: 1, by, durable: true },
            What::Serving { classes: vec![], unnamed: 0, took_ms: 1.0, untried: false, refused: None },
            What::Notice { level: Level::Info, source, text: String::new() },
        ];
        for what in all {
            assert_eq!(serde_json::to_value(&what).unwrap()["event"], what.kind());
        }
    }

    #[test]
    fn an_event_is_one_flat_line_of_json_and_comes_back() {
        let what = What::Heard {
            id: None,
            source: "a b.wav".into(),
            begin_s: 0.0,
            end_s: 1.5,
            span: None,
            class: "みそさざい".into(),
            probability: 0.75,
            unknown: None,
        };
        let event = Event::new(Moment { wall_ms: Some(1_700_000_000_000), ..Moment::UNKNOWN }, 7, what);
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n') && line.contains(r#""event":"heard""#) && line.contains(r#""schema":1"#), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        let later = line.replacen('{', r#"{"added_later":1,"#, 1);
        assert_eq!(serde_json::from_str::<Event>(&later).unwrap(), event);
    }
}
