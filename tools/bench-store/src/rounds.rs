//! Runs the stores in rounds, A B C D A B C D, so that whatever drifts in the machine meets all of them.
//!
//! What is counted begins when every store is full, has written every byte of its files once, and is checkpointed; it ends with a checkpoint of each, so that no store
//! leaves anything to be written later.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::device::Device;
use crate::row::{Row, Rows};
use crate::stores::{Kind, Shape, Store};

/// Rows that come first, for one that is held: in them the adapter's journal goes round its file.
const FILLING: usize = 6;

/// How rows come.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    pub name: &'static str,
    pub rows_per_commit: usize,
    /// Rows of one store before it is the next one's turn.
    pub rows_per_round: usize,
    /// Rows that are counted, a multiple of the above.
    pub rows: usize,
    /// Rows a commit while the stores are being filled.
    pub filling_rows_per_commit: usize,
}

impl Mode {
    /// `name`, with at least `rows` rows in whole rounds.
    pub fn new(name: &'static str, rows_per_commit: usize, rows_per_round: usize, rows: usize) -> Mode {
        let rows = rows.max(1).next_multiple_of(rows_per_round);
        Mode { name, rows_per_commit, rows_per_round, rows, filling_rows_per_commit: rows_per_commit }
    }

    /// Filled 32 rows a commit, which takes less time and hardly shows once all of them have been replaced.
    pub fn filled_fast(self) -> Mode {
        Mode { filling_rows_per_commit: 32, ..self }
    }
}

/// One store's turn.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    #[serde(skip)]
    pub commits_us: Vec<f64>,
    pub elapsed_s: f64,
    pub device_bytes: Option<u64>,
    pub checkpoints: u32,
}

/// What one store did in one mode.
pub struct Track {
    pub kind: Kind,
    pub rounds: Vec<Round>,
    pub file_bytes: u64,
    /// Still open.
    pub store: Box<dyn Store>,
}

impl Track {
    /// Bytes that the device wrote in all rounds.
    pub fn device_bytes(&self) -> Option<u64> {
        self.rounds.iter().map(|r| r.device_bytes).sum()
    }

    /// Every commit's time.
    pub fn commits_us(&self) -> Vec<f64> {
        self.rounds.iter().flat_map(|r| r.commits_us.iter().copied()).collect()
    }
}

/// Commits rows to each store below `folder`: first until all are full and have gone round, then `mode.rows` that count, then a quarter of
/// what is held that do not, so that no store happens to be freshly checkpointed.
pub fn run(folder: &Path, device: Option<&Device>, mode: Mode, shape: Shape) -> Result<Vec<Track>> {
    let mut rows = Rows::new(shape.dim)?;
    let mut tracks = Vec::new();
    for kind in Kind::ALL {
        let store = kind.create(&folder.join(kind.name()), shape).with_context(|| format!("cannot create {}", kind.name()))?;
        tracks.push(Track { kind, rounds: Vec::new(), file_bytes: 0, store });
    }
    let filling = (FILLING * shape.replay_rows as usize).next_multiple_of(mode.rows_per_round);
    for _ in 0..filling / mode.rows_per_round {
        let rows = rows.take(mode.rows_per_round);
        for track in &mut tracks {
            turn(track, &rows, mode.filling_rows_per_commit, None, false)?;
        }
    }
    for track in &mut tracks {
        track.store.checkpoint()?;
        track.store.checkpointed()?;
    }
    let rounds = mode.rows / mode.rows_per_round;
    for n in 1..=rounds {
        let rows = rows.take(mode.rows_per_round);
        for track in &mut tracks {
            let round = turn(track, &rows, mode.rows_per_commit, device, n == rounds)?;
            track.rounds.push(round);
        }
    }
    let rows = rows.take((shape.replay_rows as usize / 4).next_multiple_of(mode.rows_per_commit));
    for track in &mut tracks {
        turn(track, &rows, mode.rows_per_commit, None, false)?;
        track.file_bytes = crate::folder::len_bytes(&folder.join(track.kind.name()))?;
    }
    Ok(tracks)
}

/// Commits `rows` to one store, with a checkpoint behind them when it is its last turn.
fn turn(track: &mut Track, rows: &[Row], rows_per_commit: usize, device: Option<&Device>, last: bool) -> Result<Round> {
    let failed = || format!("{} failed, {} rows a commit", track.kind.name(), rows_per_commit);
    let before = device.map(Device::written_bytes).transpose()?;
    let mut round = Round { commits_us: Vec::new(), elapsed_s: 0.0, device_bytes: None, checkpoints: 0 };
    let begun = Instant::now();
    for commit in rows.chunks(rows_per_commit) {
        let started = Instant::now();
        track.store.commit(commit).with_context(failed)?;
        round.commits_us.push(started.elapsed().as_secs_f64() * 1e6);
        round.checkpoints += u32::from(track.store.checkpointed()?);
    }
    if last {
        track.store.checkpoint().with_context(failed)?;
        round.checkpoints += u32::from(track.store.checkpointed()?);
    }
    let after = device.map(Device::written_bytes).transpose()?;
    round.elapsed_s = begun.elapsed().as_secs_f64();
    round.device_bytes = after.zip(before).map(|(a, b)| a - b);
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_whole_rounds() {
        assert_eq!(Mode::new("chunk", 32, 4096, 10_000).rows, 12_288);
        assert_eq!(Mode::new("chunk", 32, 4096, 8192).rows, 8192);
        assert_eq!(Mode::new("chunk", 32, 4096, 0).rows, 4096);
    }

    #[test]
    fn every_store_commits_every_row_and_is_there_when_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let mode = Mode::new("chunk", 4, 16, 32);
        let tracks = run(folder.path(), None, mode, Shape { dim: 32, replay_rows: 16 }).unwrap();
        assert_eq!(tracks.len(), Kind::ALL.len());
        for track in tracks {
            assert_eq!(track.commits_us().len(), 8, "{:?}", track.kind);
            assert!(track.file_bytes > 16 * 32, "{:?}", track.kind);
            let checkpoints: u32 = track.rounds.iter().map(|r| r.checkpoints).sum();
            assert_eq!(checkpoints > 0, matches!(track.kind, Kind::Adapter | Kind::Unsynced), "{:?}", track.kind);
            drop(track.store);
            track.kind.open(&folder.path().join(track.kind.name())).unwrap();
        }
    }
}
