//! What the daemon tells, held for whoever asks and handed on to whoever watches: a sink of the daemon on one side, the answers of the
//! server on the other.
//!
//! Held are the newest [`EVENTS`] events, or fewer if they are more than [`EVENTS_BYTES`] as JSON, and the newest [`UPDATES`] heads, in memory
//! that is taken once. Who watches gets messages through a bounded channel: one that is slower loses the oldest and is told how many; nobody
//! waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;

use super::newest::{Newest, resident};
use crate::Result;
use crate::event::{Event, Glance, Sink, What};
use crate::live::facts::Facts;
use crate::live::picture::{BANDS, COLUMN_MS};
use crate::units::Moment;

/// Events that are held at most.
pub const EVENTS: usize = 1000;
/// And so many bytes of them.
pub const EVENTS_BYTES: usize = 512 << 10;
/// Heads that are held.
pub const UPDATES: usize = 1000;
/// Messages that wait for one who watches.
const WAITING: usize = 256;
/// Columns that go together, so that a picture is a few messages a second.
const COLUMNS: usize = 4;

/// A message to whoever watches.
#[derive(Debug, Clone)]
pub struct Message {
    /// `event`, `window` or `sound`.
    pub name: &'static str,
    /// Of an event.
    pub number: Option<u64>,
    /// JSON on one line.
    pub data: Arc<str>,
}

/// A head that came to serve.
#[derive(Debug, Clone, Serialize)]
pub struct Update {
    at: Moment,
    generation: u64,
    took_ms: f64,
    accuracy: Option<f64>,
    forgetting: Option<f64>,
    drift: Option<f64>,
    temperature_c: Option<f64>,
}

impl Update {
    const NONE: Update =
        Update { at: Moment::UNKNOWN, generation: 0, took_ms: 0.0, accuracy: None, forgetting: None, drift: None, temperature_c: None };
}

/// Watches a daemon. Clones watch the same one.
#[derive(Clone)]
pub struct Watch {
    held: Arc<Mutex<Held>>,
    told: broadcast::Sender<Message>,
    sound: broadcast::Sender<Message>,
}

struct Held {
    next_number: u64,
    events: Newest,
    facts: Option<Facts>,
    updates: VecDeque<Update>,
    columns: Vec<Columns>,
    /// When the newest window of each microphone was answered.
    answered: Vec<Option<Instant>>,
}

/// Columns of one microphone that are not told yet.
#[derive(Default)]
struct Columns {
    count: usize,
    peak: f32,
    squares: f32,
    bands: Vec<u8>,
}

impl Watch {
    /// Of a daemon that is not started yet.
    pub fn new() -> Watch {
        let held = Held {
            next_number: 1,
            events: Newest::new(EVENTS, EVENTS_BYTES),
            facts: None,
            updates: resident(Update::NONE, UPDATES),
            columns: Vec::new(),
            answered: Vec::new(),
        };
        Watch { held: Arc::new(Mutex::new(held)), told: broadcast::channel(WAITING).0, sound: broadcast::channel(WAITING).0 }
    }

    /// Events and windows from now on, and the events that are held after `number`.
    pub fn follow(&self, after: Option<u64>) -> (Vec<Message>, broadcast::Receiver<Message>) {
        // Under the lock, so that no event is missed or told twice.
        let held = self.held();
        let receiver = self.told.subscribe();
        let Some(after) = after else { return (Vec::new(), receiver) };
        // A number of a daemon before this one was of other events.
        let after = if after < held.next_number { after } else { 0 };
        let missed: Vec<(u64, Vec<u8>)> = held.events.rev().take_while(|(number, _)| *number > after).collect();
        drop(held);
        // What is held is JSON, which is text.
        let text = |json| String::from_utf8(json).unwrap_or_default().into();
        let missed = missed.into_iter().rev().map(|(number, json)| Message { name: "event", number: Some(number), data: text(json) });
        (missed.collect(), receiver)
    }

    /// The picture of the sound from now on.
    pub fn look(&self) -> broadcast::Receiver<Message> {
        self.sound.subscribe()
    }

    /// How many watch.
    pub fn watching(&self) -> usize {
        self.told.receiver_count()
    }

    /// The newest events that are wanted, at most `limit`, the newest first.
    pub fn events(&self, limit: usize, wanted: impl Fn(u64, &Event) -> bool) -> Vec<(u64, Event)> {
        // Read after the lock is given back: the daemon waits for it.
        let held: Vec<(u64, Vec<u8>)> = self.held().events.rev().collect();
        let all = held.into_iter().filter_map(|(number, json)| Some((number, serde_json::from_slice(&json).ok()?)));
        all.filter(|(number, event)| wanted(*number, event)).take(limit).collect()
    }

    /// How the adapter stands; none before the daemon has said so.
    pub fn facts(&self) -> Option<Facts> {
        self.held().facts.clone()
    }

    /// Heads that came to serve, the newest last.
    pub fn updates(&self) -> Vec<Update> {
        self.held().updates.iter().cloned().collect()
    }

    /// How long ago a window of this microphone was answered.
    pub fn answered_ago(&self, source: usize) -> Option<Duration> {
        self.held().answered.get(source).copied().flatten().map(|at| at.elapsed())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What is held stays whole: each change is one push.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever watches; that nobody does is no error.
    fn tell(channel: &broadcast::Sender<Message>, name: &'static str, data: String) {
        drop(channel.send(Message { name, number: None, data: data.into() }));
    }
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::new()
    }
}

impl Sink for Watch {
    fn wants_sound(&self) -> bool {
        true
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        // An event is always JSON: its keys are texts.
        let data: Arc<str> = serde_json::to_string(event).unwrap_or_default().into();
        let mut held = self.held();
        let number = held.next_number;
        held.next_number += 1;
        held.events.push(number, &data);
        if let What::Serving { took_ms, .. } = event.what {
            let report = held.facts.as_ref().map(|f| &f.report);
            let of = |of: fn(&crate::monitor::Report) -> Option<f64>| report.and_then(of);
            let (accuracy, forgetting, drift) = (of(|r| r.accuracy), of(|r| r.forgetting), of(|r| r.drift));
            let (at, generation, temperature_c) = (event.at, event.generation, crate::clock::temperature_c());
            if held.updates.len() == UPDATES {
                held.updates.pop_front();
            }
            held.updates.push_back(Update { at, generation, took_ms, accuracy, forgetting, drift, temperature_c });
        }
        // That nobody watches is no error.
        drop(self.told.send(Message { name: "event", number: Some(number), data }));
        Ok(())
    }

    fn glance(&mut self, glance: &Glance<'_>) {
        match *glance {
            Glance::Adapter(facts) => self.held().facts = Some(facts.clone()),
            Glance::Window { source, window, end, is_silent, guesses, unknown } => {
                let (mut held, n) = (self.held(), source as usize);
                if held.answered.len() <= n {
                    held.answered.resize(n + 1, None);
                }
                held.answered[n] = Some(Instant::now());
                drop(held);
                if self.told.receiver_count() > 0 {
                    let window =
                        json!({"source": source, "window": window, "at": end, "silent": is_silent, "guesses": guesses, "unknown": unknown});
                    Watch::tell(&self.told, "window", window.to_string());
                }
            }
            Glance::Sound { source, column } => {
                if self.sound.receiver_count() == 0 {
                    return;
                }
                let mut held = self.held();
                let n = source as usize;
                if held.columns.len() <= n {
                    held.columns.resize_with(n + 1, Columns::default);
                }
                let columns = &mut held.columns[n];
                columns.count += 1;
                columns.peak = columns.peak.max(column.peak);
                columns.squares += column.rms * column.rms;
                columns.bands.extend_from_slice(&column.bands);
                if columns.count == COLUMNS {
                    let all = std::mem::take(columns);
                    drop(held);
                    let rms = (all.squares / COLUMNS as f32).sqrt();
                    let (bands, columns) = (BANDS, base64(&all.bands));
                    let sound =
                        json!({"source": source, "peak": all.peak, "rms": rms, "bands": bands, "columns": columns, "column_ms": COLUMN_MS});
                    Watch::tell(&self.sound, "sound", sound.to_string());
                }
            }
        }
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;
    use crate::live::picture::Column;

    fn notice(n: usize) -> Event {
        let what = What::Notice { level: Level::Info, source: "test".into(), text: n.to_string() };
        Event::new(Moment::UNKNOWN, 1, what)
    }

    #[test]
    fn who_comes_back_gets_what_was_missed_once_and_the_oldest_make_room() {
        let mut watch = Watch::new();
        (0..EVENTS + 10).for_each(|n| watch.take(&notice(n)).unwrap());
        let (missed, mut receiver) = watch.follow(Some(EVENTS as u64 + 7));
        assert_eq!(missed.iter().map(|m| m.number).collect::<Vec<_>>(), [Some(1008), Some(1009), Some(1010)]);
        watch.take(&notice(0)).unwrap();
        assert_eq!(receiver.try_recv().unwrap().number, Some(1011));
        assert!(receiver.try_recv().is_err());
        let all = watch.events(usize::MAX, |_, _| true);
        assert_eq!((all.len(), all[0].0, all[EVENTS - 1].0), (EVENTS, 1011, 12));
        assert!(watch.follow(None).0.is_empty());
        assert_eq!(watch.follow(Some(5000)).0.len(), EVENTS, "a number of a daemon before");
    }

    #[test]
    fn each_microphone_is_answered_by_itself() {
        let mut watch = Watch::new();
        watch.glance(&Glance::Window { source: 1, window: 1, end: Moment::UNKNOWN, is_silent: true, guesses: &[], unknown: None });
        assert!(watch.answered_ago(0).is_none() && watch.answered_ago(1).is_some() && watch.answered_ago(2).is_none());
    }

    #[test]
    fn who_reads_too_slowly_loses_the_oldest_and_hears_how_many() {
        let mut watch = Watch::new();
        let (_, mut receiver) = watch.follow(None);
        (0..WAITING + 5).for_each(|n| watch.take(&notice(n)).unwrap());
        assert!(matches!(receiver.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
        assert_eq!(receiver.try_recv().unwrap().number, Some(6));
    }

    #[test]
    fn columns_of_a_microphone_are_told_together() {
        let mut watch = Watch::new();
        let column = |n: u8| Column { peak: f32::from(n) / 10.0, rms: 0.5, bands: [n; BANDS] };
        watch.glance(&Glance::Sound { source: 0, column: &column(9) });
        let mut receiver = watch.look();
        for n in 1..=4 {
            watch.glance(&Glance::Sound { source: 1, column: &column(n) });
        }
        let sound: serde_json::Value = serde_json::from_str(&receiver.try_recv().unwrap().data).unwrap();
        assert_eq!((sound["source"].as_u64(), sound["bands"].as_u64()), (Some(1), Some(64)));
        assert!((sound["peak"].as_f64().unwrap() - 0.4).abs() < 1e-6 && (sound["rms"].as_f64().unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(sound["columns"].as_str().unwrap().len(), (4 * BANDS).div_ceil(3) * 4);
        assert!(receiver.try_recv().is_err());
    }
}
