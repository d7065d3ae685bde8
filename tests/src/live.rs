//! The main job live: sounds are played into a microphone, two new classes are taught while they sound, and then known in clips that were
//! never heard. It drives the command `wheatear listen` as a user does, by what it says and what it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use wheatear::{Error, ErrorKind, Result};

use crate::sound_server::SoundServer;

/// Known before, from files.
pub const KNOWN: [&str; 3] = ["Cello", "Clarinet", "Church Organ"];
/// Taught live.
pub const NEW: [&str; 2] = ["Tenor Sax", "Yamaha Grand Piano"];
/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);
/// What is still on its way when a clip has been played: its last window, the sound server's buffers and the pause that ends an event.
const TAIL: Duration = Duration::from_millis(2500);

/// How it went.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Outcome {
    /// Classes that were taught live.
    pub taught: usize,
    /// Clips of them that were named right, the longest event of each being its name.
    pub recognised: usize,
    /// Those that were named wrong; the others were said to be of no known class.
    pub mistaken: usize,
    /// Clips that were never taught.
    pub unheard: usize,
    /// Frames that were lost.
    pub lost: u64,
    /// From a label to the head that was tried and knows it, in ms, each.
    pub head_ms: Vec<f64>,
    /// What `counts` said at the end.
    pub counts: Value,
    /// Class, clip and what was heard in it.
    pub heard: Vec<(String, String, Vec<String>)>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { taught, recognised, unheard, lost, .. } = self;
        write!(f, "live: taught {taught} classes, recognised {recognised} of {unheard} unheard clips, lost samples {lost}")
    }
}

/// A running `wheatear listen`.
pub struct Listening {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// Lines that were passed over.
    waiting: VecDeque<Value>,
}

impl Listening {
    /// Starts `command`, which is `wheatear listen` with its arguments, before the microphone of `server`.
    ///
    /// # Errors
    /// `Storage` when it cannot be started.
    pub fn start(mut command: Command, server: &SoundServer) -> Result<Listening> {
        command.envs(server.environment()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |e| Error::io("start", "wheatear listen", e);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new(ErrorKind::Storage, "wheatear listen has no pipes"));
        };
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(std::io::Result::ok) {
                if serde_json::from_str(&line).is_ok_and(|json: Value| tell.send(json).is_err()) {
                    return;
                }
            }
        });
        Ok(Listening { child, input, lines, waiting: VecDeque::new() })
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// `Storage` when it has gone.
    pub fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(|e| Error::io("speak to", "wheatear listen", e))
    }

    /// The first line that `is` wanted; the others wait for who asks for them.
    ///
    /// # Errors
    /// `Limit` when none comes in time, with the lines that did.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + LONG;
        if let Some(line) = self.waiting.iter().position(&is).and_then(|n| self.waiting.remove(n)) {
            return Ok(line);
        }
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if is(&line) => return Ok(line),
                Ok(line) => self.waiting.push_back(line),
                Err(_) => {
                    let found: Vec<String> = self.waiting.iter().map(ToString::to_string).collect();
                    return Err(Error::new(ErrorKind::Limit, "wheatear listen did not say it").expected(what).found(found.join("\n")));
                }
            }
        }
    }

    /// All that it said and nobody asked for, and says for so long.
    pub fn hear(&mut self, time: Duration) -> Vec<Value> {
        let (until, mut all) = (Instant::now() + time, Vec::from(std::mem::take(&mut self.waiting)));
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
            }
        }
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line is an event of this kind.
pub fn is_event(line: &Value, kind: &str) -> bool {
    line["event"] == kind
}

/// Notes of an instrument, in order.
///
/// # Errors
/// `Missing` when there are none.
pub fn notes(sounds: &Path, instrument: &str) -> Result<Vec<PathBuf>> {
    let folder = sounds.join(instrument);
    let entries = std::fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))?;
    let mut notes: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    notes.sort();
    Ok(notes)
}

/// Plays the first `taught` notes of each new class and says what they were, then `unheard` others. `listen` is `wheatear listen` with an
/// adapter that knows [`KNOWN`].
///
/// # Errors
/// Where something did not come about in time; those of the server and the sounds.
pub fn run(listen: Command, server: &SoundServer, sounds: &Path, taught: usize, unheard: usize) -> Result<Outcome> {
    let mut listening = Listening::start(listen, server)?;
    listening.wait_for("hears the microphone", |line| line["text"].as_str().is_some_and(|t| t.starts_with("hears ")))?;
    let mut outcome = Outcome { taught: NEW.len(), ..Outcome::default() };
    for n in 0..taught {
        for class in NEW {
            let began = Instant::now();
            play(server, &notes(sounds, class)?[n])?;
            listening.hear(TAIL);
            listening.say(&format!("last {:.1} is {class}", began.elapsed().as_secs_f64()))?;
            let answer = listening.wait_for("an answer", |line| line.get("answer").is_some())?;
            if answer["answer"] != "learned" || answer["durable"] != true {
                return Err(Error::new(ErrorKind::Learn, "a label was not learned").at(class).found(answer));
            }
            let serving = listening.wait_for("a new head", |line| is_event(line, "serving") && line["untried"] != true)?;
            outcome.head_ms.extend(serving["took_ms"].as_f64());
        }
    }
    for n in taught..taught + unheard {
        for class in NEW {
            let note = &notes(sounds, class)?[n];
            play(server, note)?;
            let lines = listening.hear(TAIL);
            let events = lines.iter().filter(|line| is_event(line, "heard"));
            let length = |line: &Value| line["end_s"].as_f64().unwrap_or(0.0) - line["begin_s"].as_f64().unwrap_or(0.0);
            let longest = events.clone().max_by(|a, b| length(a).total_cmp(&length(b)));
            outcome.unheard += 1;
            outcome.recognised += usize::from(longest.is_some_and(|line| line["class"] == class));
            outcome.mistaken += usize::from(longest.is_some_and(|line| line["class"] != class));
            let name = note.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = |line: &Value| {
                format!(
                    "{} {:.1} s, {:.2}",
                    line["class"].as_str().unwrap_or(""),
                    length(line),
                    line["probability"].as_f64().unwrap_or(0.0)
                )
            };
            outcome.heard.push((class.to_owned(), name, events.map(text).collect()));
        }
    }
    listening.say("counts")?;
    outcome.counts = listening.wait_for("counts", |line| line["answer"] == "counts")?["counts"].clone();
    outcome.lost = outcome.counts["frames_lost"].as_u64().unwrap_or(u64::MAX);
    listening.say("quit")?;
    let ended = listening.child().wait().map_err(|e| Error::io("wait for", "wheatear listen", e))?;
    if !ended.success() {
        return Err(Error::new(ErrorKind::Learn, "wheatear listen did not end well").found(ended));
    }
    Ok(outcome)
}

fn play(server: &SoundServer, file: &Path) -> Result<()> {
    let ended = server.play(file)?.wait().map_err(|e| Error::io("play", file, e))?;
    if ended.success() { Ok(()) } else { Err(Error::new(ErrorKind::Input, "the sound was not played").at(file.display()).found(ended)) }
}
