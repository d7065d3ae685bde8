//! What a person or a program asks of a device that listens, as JSON from outside: a label, or to take labels back. It is bounded, and
//! checked before anything is done.
//!
//! ```text
//! label   {"target": {"last_ms": 3000}, "labels": "wren;robin", "by": "anna"}     also {"event": 12} or {"window": 345}
//!         {"target": {"last_ms": 3000, "microphone": 2}, "labels": "!wren"}       where several microphones are heard, counted from 1
//!         {"target": {"span_ns": [BEGIN, END]}, "labels": "!wren"}                by the device's clock since boot
//! undo    {"labels": 1, "by": "anna"}
//! ```
//!
//! Labels are text as [`label_text`] reads it. `by` may be left out, and `labels` of an undo, which is 1 then.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::learn::{LabelSet, label_text};
use crate::{Error, ErrorKind, Result};

/// Longest request in bytes.
pub const REQUEST_MAX_BYTES: usize = 4096;
/// Longest name of who asks, in bytes.
pub const BY_MAX_BYTES: usize = 64;
/// How far back a label may reach, in ms.
pub const LAST_MAX_MS: u32 = 86_400_000;
/// Labels that one request may take back.
pub const UNDO_MAX: usize = 256;

/// What a label is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// What was heard in the last so many ms: windows of which at least half is in them.
    Last {
        /// By which microphone, counted from 0; where there is one only, none need be named.
        source: Option<u32>,
        /// How many.
        ms: u32,
    },
    /// The event of this id.
    Event(u64),
    /// The window of this number.
    Window(u64),
    /// A span of the monotonic clock, of microphone `source`.
    Span {
        /// Number of the microphone, from 0; where there is one only, none need be named.
        source: Option<u32>,
        /// Begin in ns.
        begin_ns: u64,
        /// End in ns.
        end_ns: u64,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |ns: u64| ns as f64 * 1e-9;
        match self {
            Target::Last { ms, .. } => write!(f, "the last {:.1} s", f64::from(*ms) * 1e-3),
            Target::Event(id) => write!(f, "event {id}"),
            Target::Window(number) => write!(f, "window {number}"),
            Target::Span { begin_ns, end_ns, .. } => {
                write!(f, "a span of {:.1} s, {:.1} s after the device was started", s(end_ns.saturating_sub(*begin_ns)), s(*begin_ns))
            }
        }
    }
}

/// What a person is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Rows that were learned, or taken back.
    pub rows: u64,
    /// Generation of the adapter.
    pub generation: u64,
    /// True when it survives a power cut from now on.
    pub durable: bool,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// That was this.
    Label {
        /// What the label is about.
        target: Target,
        /// What it was.
        labels: LabelSet,
        /// Who says so; empty when nobody is named.
        by: String,
    },
    /// Take labels back.
    Undo {
        /// How many, the newest first.
        labels: usize,
        /// Who says so; empty when nobody is named.
        by: String,
    },
}

impl Request {
    /// A label from JSON.
    ///
    /// # Errors
    /// `Input` when it is too long, no JSON, has a key that is not known or a value out of its bounds: send another one.
    pub fn label(json: &[u8]) -> Result<Request> {
        let RawLabel { target, labels, by } = read(json, LABEL)?;
        Ok(Request::Label { target: target.checked()?, labels: label_text::parse(&labels)?, by: checked(by)? })
    }

    /// With the last so many ms as a span that ends `now_ns`, so that they do not move while the request waits.
    #[must_use]
    pub fn heard_until(self, now_ns: u64) -> Request {
        match self {
            Request::Label { target: Target::Last { source, ms }, labels, by } => {
                let begin_ns = now_ns.saturating_sub(u64::from(ms) * 1_000_000);
                Request::Label { target: Target::Span { source, begin_ns, end_ns: now_ns }, labels, by }
            }
            other => other,
        }
    }

    /// A request to take labels back, from JSON.
    ///
    /// # Errors
    /// As [`Request::label`].
    pub fn undo(json: &[u8]) -> Result<Request> {
        let RawUndo { labels, by } = read(json, UNDO)?;
        if labels == 0 || labels > UNDO_MAX {
            return Err(bad("so many labels cannot be taken back at once").expected(format!("1 to {UNDO_MAX}")).found(labels));
        }
        Ok(Request::Undo { labels, by: checked(by)? })
    }
}

const TARGET: &str = "exactly one of event, window, last_ms and span_ns; microphone, from 1, with the last two alone";
const LABEL: &str = r#"{"target": {"last_ms": 3000} or {"event": 12} or {"window": 5}, "labels": "wren;robin", "by": "anna"}"#;
const UNDO: &str = r#"{"labels": 1, "by": "anna"}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    target: RawTarget,
    labels: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    event: Option<u64>,
    window: Option<u64>,
    last_ms: Option<u32>,
    span_ns: Option<(u64, u64)>,
    microphone: Option<u32>,
}

impl RawTarget {
    fn checked(self) -> Result<Target> {
        let unclear = || bad("it is not clear what the label is about").at("target").expected(TARGET);
        // Microphones are counted from 1 here.
        let source = self.microphone.map_or(Ok(None), |n| n.checked_sub(1).map(Some).ok_or_else(unclear))?;
        match (self.event, self.window, self.last_ms, self.span_ns, source) {
            (Some(event), None, None, None, None) => Ok(Target::Event(event)),
            (None, Some(window), None, None, None) => Ok(Target::Window(window)),
            (None, None, Some(ms), None, _) if ms == 0 || ms > LAST_MAX_MS => {
                Err(bad("a label cannot reach that far").at("last_ms").expected(format!("1 to {LAST_MAX_MS}")).found(ms))
            }
            (None, None, Some(ms), None, source) => Ok(Target::Last { source, ms }),
            (None, None, None, Some((begin_ns, end_ns)), source) if begin_ns < end_ns => Ok(Target::Span { source, begin_ns, end_ns }),
            _ => Err(unclear()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUndo {
    #[serde(default = "one")]
    labels: usize,
    #[serde(default)]
    by: String,
}

fn one() -> usize {
    1
}

fn read<T: for<'a> Deserialize<'a>>(json: &[u8], expected: &str) -> Result<T> {
    if json.len() > REQUEST_MAX_BYTES {
        return Err(bad("the request is too long")
            .expected(format!("at most {REQUEST_MAX_BYTES} bytes"))
            .found(format!("{} bytes", json.len()))
            .cure("send less"));
    }
    serde_json::from_slice(json).map_err(|e| bad("the request cannot be read").expected(expected).found(&e).because(e))
}

fn checked(by: String) -> Result<String> {
    if by.len() > BY_MAX_BYTES || by.contains(char::is_control) {
        let error = bad("the name of who asks cannot be used").at("by").found(format!("{} bytes", by.len()));
        return Err(error.expected(format!("at most {BY_MAX_BYTES} bytes, no control characters")));
    }
    Ok(by)
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::Input, what).cure("correct the request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(target: Target, labels: &str, by: &str) -> Request {
        Request::Label { target, labels: label_text::parse(labels).unwrap(), by: by.into() }
    }

    #[test]
    fn labels_are_read_in_each_form() {
        for (json, request) in [
            (
                r#"{"target": {"last_ms": 3000}, "labels": "wren;robin", "by": "anna"}"#,
                label(Target::Last { source: None, ms: 3000 }, "wren;robin", "anna"),
            ),
            (r#"{"target": {"last_ms": 1, "microphone": 2}, "labels": "!*"}"#, label(Target::Last { source: Some(1), ms: 1 }, "!*", "")),
            (
                r#"{"target": {"span_ns": [1, 2]}, "labels": "jay"}"#,
                label(Target::Span { source: None, begin_ns: 1, end_ns: 2 }, "jay", ""),
            ),
            (r#"{"target": {"event": 12}, "labels": "!jay"}"#, label(Target::Event(12), "!jay", "")),
            (r#"{"labels": "jay", "target": {"window": 5}}"#, label(Target::Window(5), "jay", "")),
        ] {
            assert_eq!(Request::label(json.as_bytes()).unwrap(), request, "{json}");
        }
        let last = label(Target::Last { source: Some(1), ms: 3 }, "jay", "").heard_until(10_000_000);
        assert_eq!(last, label(Target::Span { source: Some(1), begin_ns: 7_000_000, end_ns: 10_000_000 }, "jay", ""));
        assert_eq!(Request::undo(br#"{"labels": 2}"#).unwrap(), Request::Undo { labels: 2, by: String::new() });
        assert_eq!(Request::undo(br#"{"by": "anna"}"#).unwrap(), Request::Undo { labels: 1, by: "anna".into() });
    }

    #[test]
    fn what_is_not_a_request_is_refused_and_says_what_one_is() {
        let long = format!(r#"{{"target": {{"event": 1}}, "labels": "{}"}}"#, "a".repeat(REQUEST_MAX_BYTES));
        let name = format!(r#"{{"target": {{"event": 1}}, "labels": "wren", "by": "{}"}}"#, "a".repeat(BY_MAX_BYTES + 1));
        for (json, part) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            (r#"{"target": {"event": 1}}"#, "missing field `labels`"),
            (r#"{"target": {"event": 1}, "labels": "wren", "sure": true}"#, "unknown field `sure`"),
            (r#"{"target": {"event": -1}, "labels": "wren"}"#, "cannot be read"),
            (r#"{"target": {"event": 1, "window": 1}, "labels": "wren"}"#, "exactly one"),
            (r#"{"target": {"span_ns": [5, 5]}, "labels": "wren"}"#, "exactly one"),
            (r#"{"target": {}, "labels": "wren"}"#, "exactly one"),
            (r#"{"target": {"minute": 1}, "labels": "wren"}"#, "unknown field `minute`"),
            (r#"{"target": {"last_ms": 0}, "labels": "wren"}"#, "reach that far"),
            (r#"{"target": {"last_ms": 86400001}, "labels": "wren"}"#, "reach that far"),
            (r#"{"target": {"last_ms": 1, "microphone": 0}, "labels": "wren"}"#, "from 1"),
            (r#"{"target": {"event": 1, "microphone": 1}, "labels": "wren"}"#, "last two alone"),
            (r#"{"target": {"event": 1}, "labels": "wren;!wren"}"#, "both be a class and not be it"),
            (r#"{"target": {"event": 1}, "labels": "wren", "by": "a\u0007"}"#, "name of who asks"),
            (&name, "name of who asks"),
            (&long, "too long"),
        ] {
            let error = Request::label(json.as_bytes()).unwrap_err();
            assert!(error.kind() == ErrorKind::Input && error.to_string().contains(part), "{json}: {error}");
        }
        for (json, part) in [
            (r#"{"labels": 0}"#, "at once"),
            (r#"{"labels": 257}"#, "at once"),
            ("[1, 2, 3]", "cannot be read"),
            ("\u{ff}", "cannot be read"),
        ] {
            let error = Request::undo(json.as_bytes()).unwrap_err();
            assert!(error.kind() == ErrorKind::Input && error.to_string().contains(part), "{json}: {error}");
        }
    }
}
