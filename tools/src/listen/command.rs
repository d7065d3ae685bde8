//! What can be said to `wheatear listen`, a line each:
//!
//! ```text
//! is wren;robin           the last three seconds were a wren and a robin; labels as in labels.csv
//! last 5 is !jay          the last five seconds were not a jay
//! mic 2 last 5 is !jay    the same, where several microphones are heard
//! event 12 is wren        what was told as event 12
//! window 345 is !*        window 345 was nothing
//! undo 2                  takes the last two labels back
//! questions               windows that it asked about and nobody has labelled
//! counts                  what was counted so far
//! quit
//! ```

use std::str::FromStr;

use wheatear::daemon::{Answered, Counts, Handle, Target};
use wheatear::learn::LabelSet;
use wheatear::live::ask::Question;
use wheatear::{Error, ErrorKind, Result};

use wheatear::learn::label_text;

/// How far back a label reaches that says no more.
const LAST_MS: u32 = 3000;
/// Farthest that one may.
const LAST_S_MAX: f64 = 86_400.0;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An empty line.
    Nothing,
    /// That was this.
    Label(Target, LabelSet),
    /// Take back so many labels.
    Undo(usize),
    /// Tell what was asked and not answered.
    Questions,
    /// Tell what was counted.
    Counts,
    /// End.
    Quit,
}

/// What a command is answered.
pub enum Answer {
    /// Rows were learned or taken back.
    Done(Answered),
    /// What was asked and not answered.
    Questions(Vec<Question>),
    /// Counts.
    Counts(Counts),
}

impl FromStr for Command {
    type Err = Error;

    fn from_str(line: &str) -> Result<Command> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Ok(match word {
            "" => Command::Nothing,
            "mic" => {
                let (which, rest) = rest.trim().split_once(char::is_whitespace).ok_or_else(|| unclear(line))?;
                let which = number(which).and_then(|n| u32::try_from(n).ok()?.checked_sub(1)).ok_or_else(|| unclear(line))?;
                match rest.parse()? {
                    Command::Label(Target::Last { ms, .. }, labels) => Command::Label(Target::Last { source: Some(which), ms }, labels),
                    _ => return Err(unclear(line)),
                }
            }
            "quit" if rest.is_empty() => Command::Quit,
            "questions" if rest.is_empty() => Command::Questions,
            "counts" if rest.is_empty() => Command::Counts,
            "undo" if rest.trim().is_empty() => Command::Undo(1),
            "undo" => Command::Undo(number(rest).filter(|n| *n > 0).ok_or_else(|| unclear(line))? as usize),
            "is" => Command::Label(Target::Last { source: None, ms: LAST_MS }, label_text::parse(rest.trim())?),
            "last" | "event" | "window" => {
                let (which, labels) = rest.trim().split_once(" is ").ok_or_else(|| unclear(line))?;
                let target = match word {
                    "last" => seconds(which).map(|ms| Target::Last { source: None, ms }),
                    "event" => number(which).map(Target::Event),
                    _ => number(which).map(Target::Window),
                };
                Command::Label(target.ok_or_else(|| unclear(line))?, label_text::parse(labels.trim())?)
            }
            _ => return Err(unclear(line)),
        })
    }
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// As [`Handle::label`] and the others.
    pub fn run(&self, handle: &Handle, by: &str) -> Result<Answer> {
        match self {
            Command::Label(target, labels) => handle.label(*target, labels.clone(), by).map(Answer::Done),
            Command::Undo(labels) => handle.undo(*labels, by).map(Answer::Done),
            Command::Questions => handle.questions().map(Answer::Questions),
            Command::Counts | Command::Nothing | Command::Quit => handle.counts().map(Answer::Counts),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn seconds(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|s: &f64| *s > 0.0 && *s <= LAST_S_MAX).map(|s| (s * 1000.0).ceil() as u32)
}

fn unclear(line: &str) -> Error {
    Error::new(ErrorKind::Input, "this is no command")
        .expected("[mic N] [last SECONDS | event ID | window NUMBER] is LABELS, undo [N], questions, counts or quit")
        .found(line)
        .cure("say it in one of these ways")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Target = Target::Last { source: None, ms: 3000 };

    fn label(target: Target, labels: &str) -> Command {
        Command::Label(target, label_text::parse(labels).unwrap())
    }

    #[test]
    fn what_is_said_is_understood() {
        for (line, command) in [
            ("is wren", label(LAST, "wren")),
            ("  is   song thrush ; !jay ", label(LAST, "song thrush;!jay")),
            ("last 1.5 is !*", label(Target::Last { source: None, ms: 1500 }, "!*")),
            ("mic 2 last 1.5 is !*", label(Target::Last { source: Some(1), ms: 1500 }, "!*")),
            ("mic 1 is wren", label(Target::Last { source: Some(0), ms: 3000 }, "wren")),
            ("event 12 is wren", label(Target::Event(12), "wren")),
            ("window 345 is \"what is this\"", label(Target::Window(345), "\"what is this\"")),
            ("undo", Command::Undo(1)),
            ("undo 3", Command::Undo(3)),
            ("counts", Command::Counts),
            ("questions", Command::Questions),
            ("quit", Command::Quit),
            (" ", Command::Nothing),
        ] {
            assert_eq!(line.parse::<Command>().unwrap(), command, "{line:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_back_with_what_would_be() {
        for line in [
            "wren",
            "is",
            "is ;",
            "last is wren",
            "last -1 is wren",
            "last inf is wren",
            "event x is wren",
            "undo 0",
            "mic 0 is wren",
            "mic 1 undo",
            "mic is wren",
            "undo many",
            "quit now",
        ] {
            let error = line.parse::<Command>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{line:?}: {error}");
        }
        let error = "wren".parse::<Command>().unwrap_err().to_string();
        assert!(error.contains("wren") && error.contains("is LABELS"), "{error}");
    }
}
