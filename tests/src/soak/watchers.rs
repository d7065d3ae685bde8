//! Who watch a daemon, as pages do: one who notes when each window came, and many who only count what they get.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use wheatear::clock::since_boot_ns;
use wheatear::{Error, ErrorKind, Result};

use crate::http::{Stream, Told};

/// What one who watches has noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// When each window was told, in ns since boot, and how long after its end.
    pub windows: Vec<(u64, u64)>,
    /// Events of each kind.
    pub events: BTreeMap<String, u64>,
    /// What was told as lost or wrong.
    pub warnings: Vec<String>,
    /// Messages that were lost to the one who notes.
    pub missed: u64,
}

/// Notes kept by one thread and looked at by another.
#[derive(Default)]
pub struct Notebook(Mutex<Notes>);

impl Notebook {
    /// Notes what is told at `address` until `stop`.
    ///
    /// # Errors
    /// As [`Stream::open`] and [`Stream::read`]; `Storage` when the stream ends before.
    pub fn watch(&self, address: &str, stop: &AtomicBool) -> Result<()> {
        follow(address, "/api/v1/stream", stop, |told| {
            let now_ns = since_boot_ns();
            self.with(|notes| notes.note(told, now_ns));
        })
    }

    /// Looks at the notes.
    pub fn with<T>(&self, look: impl FnOnce(&mut Notes) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notes {
    fn note(&mut self, told: Told, now_ns: u64) {
        let (name, data) = match told {
            Told::Lost(n) => return self.missed += n,
            Told::Message(name, data) => (name, serde_json::from_str::<Value>(&data).unwrap_or_default()),
        };
        if name == "window" {
            let end_ns = data["at"]["monotonic_ns"].as_u64().unwrap_or(0);
            return self.windows.push((now_ns, now_ns.saturating_sub(end_ns)));
        }
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        *self.events.entry(text("event").to_owned()).or_default() += 1;
        if text("event") == "notice" && text("level") != "info" {
            self.warnings.push(format!("{}: {}", text("source"), text("text")));
        }
    }

    /// How long after its end a window was told, in ms, of those told from `begin_ns` to `end_ns`: median and 99 in 100.
    pub fn window_ms(&self, begin_ns: u64, end_ns: u64) -> Option<(f64, f64)> {
        let within = self.windows.iter().filter(|(at, _)| (begin_ns..end_ns).contains(at));
        let mut ms: Vec<f64> = within.map(|(_, late_ns)| *late_ns as f64 * 1e-6).collect();
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| ms.get(((ms.len() as f64 - 1.0) * share).round() as usize).copied();
        if ms.is_empty() { None } else { at(0.5).zip(at(0.99)) }
    }
}

/// What one of many has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Got {
    /// Windows.
    pub windows: u64,
    /// All messages, pictures of the sound among them.
    pub messages: u64,
    /// Messages that it was too slow for.
    pub missed: u64,
}

/// Reads everything that a page does at `address` until `stop`, and counts it.
///
/// # Errors
/// As [`Notebook::watch`].
pub fn count(address: &str, stop: &AtomicBool) -> Result<Got> {
    let mut got = Got::default();
    follow(address, "/api/v1/stream?sound=1", stop, |told| match told {
        Told::Lost(n) => got.missed += n,
        Told::Message(name, _) => {
            got.messages += 1;
            got.windows += u64::from(name == "window");
        }
    })?;
    Ok(got)
}

fn follow(address: &str, path: &str, stop: &AtomicBool, mut each: impl FnMut(Told)) -> Result<()> {
    let mut stream = Stream::open(address, path)?;
    while !stop.load(Relaxed) {
        match stream.read()? {
            Some(told) => each(told),
            None => return Err(Error::new(ErrorKind::Storage, "the stream has ended").at(address)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_noted_by_its_kind() {
        let mut notes = Notes::default();
        let window = |end: u64| Told::Message("window".into(), format!(r#"{{"at":{{"monotonic_ns":{end}}}}}"#));
        (0..100).for_each(|n| notes.note(window(n * 1_000_000), (2 * n + 3) * 1_000_000));
        let warning = r#"{"event":"notice","level":"warning","source":"mic","text":"5 frames were lost"}"#;
        notes.note(Told::Message("event".into(), warning.into()), 0);
        notes.note(Told::Message("event".into(), r#"{"event":"notice","level":"info","text":"opened"}"#.into()), 0);
        notes.note(Told::Lost(3), 0);
        assert_eq!((notes.warnings.as_slice(), notes.events["notice"], notes.missed), (&["mic: 5 frames were lost".to_owned()][..], 2, 3));
        assert_eq!(notes.window_ms(0, u64::MAX), Some((53.0, 101.0)));
        assert_eq!(notes.window_ms(3_000_000, 8_000_000), Some((4.0, 5.0)));
        assert_eq!(notes.window_ms(0, 3_000_000), None);
    }
}
