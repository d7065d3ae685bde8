//! What is reported: a line a store and mode, the adapter beside each of the others, and the targets it is held against.

use serde::Serialize;

use crate::figures::{Spread, median, paired_ratio, percentile};
use crate::machine::Machine;
use crate::memory::Idle;
use crate::opening::Opening;
use crate::recovery::Recovery;
use crate::rounds::{Mode, Track};
use crate::stores::{Kind, Shape};

/// Device bytes a latent byte with chunks of 32 rows, checkpoints included.
const WEAR_MOST: f64 = 2.2;
/// How many times less than SQLite the device writes, by chunk and by label.
const LESS_BY_CHUNK: f64 = 1.4;
const LESS_BY_LABEL: f64 = 2.0;
/// A commit's time beside the same bytes written bare.
const OVER_BARE_MOST: f64 = 1.3;

/// Everything, as `--json` writes it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub place: Place,
    pub dim: usize,
    pub bits: u8,
    pub replay_rows: u32,
    pub stores: Vec<(&'static str, String)>,
    pub modes: Vec<ModeReport>,
    pub recovery: Option<Recovery>,
    pub memory: Option<Idle>,
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Place {
    pub folder: String,
    /// Device whose sectors are counted.
    pub counted: Option<Counted>,
    /// Device that the times were taken on.
    pub timed: Option<Counted>,
    pub warnings: Vec<String>,
}

/// A device, and what arrives there without this program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counted {
    pub device: String,
    pub idle_bytes_per_s: f64,
}

/// One way of committing.
#[derive(Debug, Serialize)]
pub struct ModeReport {
    pub mode: &'static str,
    pub rows_per_commit: usize,
    pub counted_rows: usize,
    pub timed_rows: usize,
    pub lines: Vec<Line>,
    pub beside: Vec<Beside>,
    /// What a sync adds to the adapter's commit, for one bare commit: its median less that of the unsynced, round by round.
    pub durability_over_bare: Option<Spread>,
    pub targets: Vec<Target>,
}

/// One store in one mode.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub store: &'static str,
    pub device_bytes_per_row: Option<f64>,
    pub device_bytes_per_latent_byte: Option<f64>,
    /// The same on the device the times were taken on, with what others wrote meanwhile.
    pub timed_device_bytes_per_latent_byte: Option<f64>,
    /// Part of these bytes that others would have written in that time, by what they wrote before.
    pub others_share: Option<f64>,
    /// Checkpoints in what was counted; the adapter's only.
    pub checkpoints: u32,
    pub commit_median_us: f64,
    pub commit_p99_us: f64,
    pub commit_mean_us: f64,
    pub commit_over_bare: Option<Spread>,
    pub opening: Option<Opening>,
    pub file_bytes: u64,
}

/// The adapter beside another store.
#[derive(Debug, Clone, Serialize)]
pub struct Beside {
    pub store: &'static str,
    /// Device bytes that the other writes for one of the adapter's.
    pub times_written: Option<f64>,
    /// The adapter's median commit for one of the other's, round by round.
    pub commit_ratio: Option<Spread>,
}

/// A figure and what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub reached: Option<f64>,
    pub met: Option<bool>,
}

/// Puts together what was counted and timed in one mode; without `counted` the timed pass counted too.
/// `idle_bytes_per_s` arrive at the counting device by themselves.
pub fn mode_report(counted: Option<(Mode, &[Track])>, timed: (Mode, &[Track]), shape: Shape, idle_bytes_per_s: f64) -> ModeReport {
    let (timed_mode, tracks) = timed;
    let (counted_mode, counts) = counted.unwrap_or(timed);
    let rounds_us = |kind: Kind| tracks.iter().find(|t| t.kind == kind).map(round_medians_us).unwrap_or_default();
    let bare_us = rounds_us(Kind::Bare);
    let mut lines = Vec::new();
    for track in tracks {
        let count = counts.iter().find(|c| c.kind == track.kind);
        let per_row = count.and_then(Track::device_bytes).map(|b| b as f64 / counted_mode.rows as f64);
        let per_row_timed = track.device_bytes().map(|b| b as f64 / timed_mode.rows as f64);
        let commits_us = track.commits_us();
        lines.push(Line {
            store: track.kind.name(),
            device_bytes_per_row: per_row,
            device_bytes_per_latent_byte: per_row.map(|b| b / shape.dim as f64),
            timed_device_bytes_per_latent_byte: per_row_timed.map(|b| b / shape.dim as f64),
            others_share: count.and_then(|c| {
                let elapsed_s: f64 = c.rounds.iter().map(|r| r.elapsed_s).sum();
                Some(idle_bytes_per_s * elapsed_s / c.device_bytes().filter(|b| *b > 0)? as f64)
            }),
            checkpoints: count.map_or(0, |c| c.rounds.iter().map(|r| r.checkpoints).sum()),
            commit_median_us: median(&commits_us).unwrap_or_default(),
            commit_p99_us: percentile(&commits_us, 99.0).unwrap_or_default(),
            commit_mean_us: commits_us.iter().sum::<f64>() / commits_us.len().max(1) as f64,
            commit_over_bare: paired_ratio(&round_medians_us(track), &bare_us),
            opening: None,
            file_bytes: track.file_bytes,
        });
    }
    let own_us = rounds_us(Kind::Adapter);
    let own = find(&lines, Kind::Adapter).and_then(|l| l.device_bytes_per_row);
    let others = [Kind::Sqlite, Kind::SqliteRing, Kind::Redb, Kind::Bare];
    let beside: Vec<Beside> = others
        .iter()
        .map(|kind| {
            let theirs = find(&lines, *kind).and_then(|l| l.device_bytes_per_row);
            Beside {
                store: kind.name(),
                times_written: theirs.zip(own).map(|(theirs, own)| theirs / own),
                commit_ratio: paired_ratio(&own_us, &rounds_us(*kind)),
            }
        })
        .collect();
    let syncs_us: Vec<f64> = own_us.iter().zip(rounds_us(Kind::Unsynced)).map(|(all, learning)| all - learning).collect();
    let targets = targets(timed_mode, &lines, &beside);
    ModeReport {
        mode: timed_mode.name,
        rows_per_commit: timed_mode.rows_per_commit,
        counted_rows: counted_mode.rows,
        timed_rows: timed_mode.rows,
        lines,
        beside,
        durability_over_bare: paired_ratio(&syncs_us, &bare_us),
        targets,
    }
}

impl ModeReport {
    /// Adds what opening took.
    pub fn opened(&mut self, opened: &[(Kind, Opening)]) {
        for (kind, opening) in opened {
            self.lines.iter_mut().filter(|l| l.store == kind.name()).for_each(|l| l.opening = Some(*opening));
        }
    }
}

fn round_medians_us(track: &Track) -> Vec<f64> {
    track.rounds.iter().filter_map(|r| median(&r.commits_us)).collect()
}

fn find(lines: &[Line], kind: Kind) -> Option<&Line> {
    lines.iter().find(|l| l.store == kind.name())
}

fn targets(mode: Mode, lines: &[Line], beside: &[Beside]) -> Vec<Target> {
    let chunks = mode.rows_per_commit > 1;
    let own = find(lines, Kind::Adapter);
    let mut targets = Vec::new();
    if chunks {
        let reached = own.and_then(|l| l.device_bytes_per_latent_byte);
        targets.push(at_most("device bytes a latent byte".into(), WEAR_MOST, reached));
    }
    let less = if chunks { LESS_BY_CHUNK } else { LESS_BY_LABEL };
    for kind in [Kind::Sqlite, Kind::SqliteRing] {
        let reached = beside.iter().find(|b| b.store == kind.name()).and_then(|b| b.times_written);
        targets.push(Target {
            what: format!("device bytes of {} for one of the adapter's", kind.name()),
            wanted: format!("at least {less}"),
            reached,
            met: reached.map(|r| r >= less),
        });
    }
    targets.push(at_most("commit over bare".into(), OVER_BARE_MOST, own.and_then(|l| l.commit_over_bare).map(|s| s.median)));
    targets
}

fn at_most(what: String, most: f64, reached: Option<f64>) -> Target {
    Target { what, wanted: format!("at most {most}"), reached, met: reached.map(|r| r <= most) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Round;
    use crate::row::Row;
    use crate::stores::Store;

    struct Nothing;

    impl Store for Nothing {
        fn commit(&mut self, _: &[Row]) -> anyhow::Result<()> {
            Ok(())
        }
        fn checkpoint(&mut self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn track(kind: Kind, device_bytes: u64, commit_us: [f64; 2]) -> Track {
        let round = |us| Round { commits_us: vec![us; 3], elapsed_s: 1.0, device_bytes: Some(device_bytes / 2), checkpoints: 1 };
        Track { kind, rounds: commit_us.map(round).to_vec(), file_bytes: 1, store: Box::new(Nothing) }
    }

    #[test]
    fn the_adapter_is_held_against_its_targets() {
        let shape = Shape { dim: 100, replay_rows: 16 };
        let tracks = [
            track(Kind::Adapter, 2000, [12.0, 120.0]),
            track(Kind::Unsynced, 1000, [1.0, 10.0]),
            track(Kind::Sqlite, 3000, [24.0, 240.0]),
            track(Kind::SqliteRing, 2500, [12.0, 120.0]),
            track(Kind::Bare, 1000, [10.0, 100.0]),
        ];
        let mode = Mode::new("chunk", 2, 5, 10);
        let report = mode_report(None, (mode, &tracks), shape, 100.0);
        assert_eq!(report.lines[0].device_bytes_per_row, Some(200.0));
        assert_eq!(report.lines[0].device_bytes_per_latent_byte, Some(2.0));
        assert_eq!(report.lines[0].others_share, Some(0.1), "100 bytes/s, 2 seconds, 2000 bytes");
        assert_eq!((report.lines[0].checkpoints, report.lines[0].commit_median_us), (2, 66.0));
        assert_eq!(report.beside[0].times_written, Some(1.5));
        assert_eq!(report.beside[0].commit_ratio.unwrap().median, 0.5);
        assert_eq!(report.durability_over_bare.unwrap().median, 1.1);
        let met: Vec<Option<bool>> = report.targets.iter().map(|t| t.met).collect();
        assert_eq!(met, [Some(true), Some(true), Some(false), Some(true)], "{:?}", report.targets);
        let by_label = mode_report(None, (Mode::new("label", 1, 5, 10), &tracks), shape, 100.0);
        let met: Vec<Option<bool>> = by_label.targets.iter().map(|t| t.met).collect();
        assert_eq!(met, [Some(false), Some(false), Some(true)], "{:?}", by_label.targets);
    }

    #[test]
    fn what_was_counted_elsewhere_is_divided_by_the_rows_counted_there() {
        let timed = [track(Kind::Adapter, 999_999, [1.0, 1.0])];
        let counted = [track(Kind::Adapter, 4000, [50.0, 50.0])];
        let (many, few) = (Mode::new("chunk", 2, 10, 20), Mode::new("chunk", 2, 5, 10));
        let report = mode_report(Some((many, &counted)), (few, &timed), Shape { dim: 100, replay_rows: 16 }, 0.0);
        assert_eq!(report.lines[0].device_bytes_per_latent_byte, Some(2.0));
        assert_eq!(report.lines[0].commit_median_us, 1.0);
        assert_eq!((report.counted_rows, report.timed_rows), (20, 10));
        assert_eq!(report.targets.last().unwrap().met, None, "there is no bare file to compare with");
    }
}
