//! Events and answers on standard output, a line each, for a person or for programs.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::json;
use wheatear::daemon::{Counts, Sink};
use wheatear::event::{Event, What};
use wheatear::live::ask::Question;
use wheatear::units::Moment;
use wheatear::{Error, Result};

use super::Format;
use super::command::{Answer, Command};

/// Lines that wait for a reader; what comes on top is lost and counted.
const WAITING: usize = 1024;
/// How long a slow reader is waited for at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Standard output, shared by whoever has something to say. Nobody waits for its reader: a thread writes.
#[derive(Clone)]
pub struct Lines {
    format: Format,
    out: SyncSender<String>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nobody reads any more.
    broken: AtomicBool,
    /// Lines that were said, and those that were written.
    said: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
}

impl Lines {
    /// In this format.
    pub fn new(format: Format) -> Lines {
        let ((out, lines), state) = (sync_channel(WAITING), Arc::<State>::default());
        let writes = state.clone();
        std::thread::spawn(move || write(&lines, &writes));
        Lines { format, out, state }
    }

    /// Whether the reader has gone.
    pub fn is_broken(&self) -> bool {
        self.state.broken.load(Relaxed)
    }

    /// Waits a while until everything is written.
    pub fn finish(&self) {
        let until = Instant::now() + FAREWELL;
        while self.state.written.load(Relaxed) < self.state.said.load(Relaxed) && !self.is_broken() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let lost = self.state.lost.load(Relaxed);
        if lost > 0 {
            log::warn!("{lost} lines were lost: nobody read them in time");
        }
    }

    /// Says what a command came to.
    pub fn answer(&self, command: &Command, answer: Result<Answer>) {
        match (answer, self.format) {
            (Ok(Answer::Counts(counts)), _) => self.counts(&counts),
            (Ok(Answer::Questions(all)), Format::Events) => self.say(&json!({"answer": "questions", "questions": all}).to_string()),
            (Ok(Answer::Questions(all)), Format::Text) => {
                let text = |q: &Question| format!("window {} of microphone {}, doubt {:.2}", q.window, q.source + 1, q.doubt);
                self.say(&if all.is_empty() { "nothing is asked".to_owned() } else { all.iter().map(text).collect::<Vec<_>>().join("\n") });
            }
            (Ok(Answer::Done(done)), Format::Events) => {
                let what = if matches!(command, Command::Undo(_)) { "undone" } else { "learned" };
                self.say(&json!({"answer": what, "rows": done.rows, "generation": done.generation, "durable": done.durable}).to_string());
            }
            // The event says it.
            (Ok(Answer::Done(_)), Format::Text) => {}
            (Err(e), _) => self.error(&e),
        }
    }

    /// Says what was counted.
    pub fn counts(&self, counts: &Counts) {
        let json = json!({"answer": "counts", "counts": counts});
        match self.format {
            Format::Events => self.say(&json.to_string()),
            Format::Text => {
                let Counts { windows, windows_dropped, windows_skipped, frames_lost, .. } = counts;
                let ms = |t: Option<(f64, f64)>| t.map_or("-".to_owned(), |(p50, p99)| format!("{p50:.1} ms (99 in 100: {p99:.1})"));
                self.say(&format!(
                    "{windows} windows, {windows_dropped} dropped, {windows_skipped} passed over; {frames_lost} frames lost"
                ));
                self.say(&format!("a window takes {}, an event leaves after {}", ms(counts.answer_ms), ms(counts.event_ms)));
            }
        }
    }

    /// Says that something was refused, and why.
    pub fn error(&self, error: &Error) {
        match self.format {
            Format::Events => {
                self.say(&json!({"answer": "refused", "code": error.kind().exit_code(), "text": error.to_string()}).to_string())
            }
            Format::Text => self.say(&format!("refused: {error}")),
        }
    }

    fn say(&self, line: &str) {
        match self.out.try_send(line.to_owned()) {
            Ok(()) => _ = self.state.said.fetch_add(1, Relaxed),
            Err(TrySendError::Full(_)) => _ = self.state.lost.fetch_add(1, Relaxed),
            // The reader has gone.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

fn write(lines: &Receiver<String>, state: &State) {
    let mut out = std::io::stdout();
    for line in lines {
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            state.broken.store(true, Relaxed);
            return;
        }
        state.written.fetch_add(1, Relaxed);
    }
}

impl Sink for Lines {
    fn take(&mut self, event: &Event) -> Result<()> {
        match self.format {
            Format::Events => {
                let failed = |e| Error::new(wheatear::ErrorKind::Storage, "an event cannot be written").because(e);
                self.say(&serde_json::to_string(event).map_err(failed)?);
            }
            Format::Text => self.say(&text(event)),
        }
        Ok(())
    }
}

/// An event for a person.
fn text(event: &Event) -> String {
    let at = clock_time(&event.at);
    let percent = |p: f32| format!("{:.0} %", 100.0 * p);
    match &event.what {
        What::Began { id, class, probability, .. } => format!("{at} [{id}] {class} ({})", percent(*probability)),
        What::Heard { id, class, begin_s, end_s, probability, .. } => {
            let id = id.map_or(String::new(), |id| format!("[{id}] "));
            format!("{at} {id}{class} until now, {:.1} s ({})", end_s - begin_s, percent(*probability))
        }
        What::Asked { window, guesses, unknown, .. } => {
            let guesses: Vec<String> = guesses.iter().map(|(class, p)| format!("{class} {}", percent(*p))).collect();
            let unknown = unknown.map_or(String::new(), |u| format!(", new {}", percent(u)));
            format!("{at} what was that? {}{unknown}: window {window} is ...", guesses.join(", "))
        }
        What::Learned { classes, rows, durable, .. } => {
            let classes = if classes.is_empty() { "nothing".to_owned() } else { classes.join(", ") };
            format!("{at} learned {classes}: {rows} windows{}", if *durable { "" } else { ", not durable yet" })
        }
        What::Undone { rows, .. } => format!("{at} took {rows} windows back"),
        What::Serving { classes, unnamed, took_ms, untried, refused } => match refused {
            None if classes.is_empty() => format!("{at} knows nothing any more"),
            None if *untried => format!("{at} takes it for {} until the new head is tried ({took_ms:.0} ms)", named(classes, *unnamed)),
            None => format!("{at} knows {} now ({took_ms:.0} ms)", named(classes, *unnamed)),
            Some(why) => format!("{at} the new head was refused, the one before serves on: {why}"),
        },
        What::Notice { source, text, .. } => format!("{at} {source}: {text}"),
    }
}

fn named(classes: &[String], more: u64) -> String {
    let beside = if more > 0 { format!(" and {more} more") } else { String::new() };
    classes.join(", ") + &beside
}

/// The wall clock in UTC, or how long the device has been up.
pub fn clock_time(moment: &Moment) -> String {
    let seconds = moment.wall_ms.map_or(moment.monotonic_ns / 1_000_000_000, |ms| ms.max(0) as u64 / 1000);
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
