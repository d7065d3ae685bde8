//! How loud a microphone is, with the peak held and clipping marked, and a picture of its last seconds. Of a fixed size.

use std::collections::VecDeque;

use wheatear::live::picture::{BANDS, COLUMN_MS, Column, FLOOR_DB};

use super::look::SHADES;

/// Columns of the runtime that make one of the screen's, so that little is sent to a terminal far away.
const JOINED: u32 = 4;
/// Columns of the screen that are kept.
const CELLS: usize = 240;
/// How long a peak is held, and how long clipping is shown.
const HOLD_MS: u32 = 2000;
const CLIP_MS: u32 = 5000;
/// A sample as large as this is clipped.
const CLIPPED: f32 = 0.999;
/// Sound that is older than this is no level of now.
const STALE_NS: u64 = 1_000_000_000;
/// From how many dB each shade is shown.
const SHADE_DB: [f32; SHADES - 1] = [-78.0, -65.0, -52.0, -39.0];

/// The sound of one microphone.
#[derive(Debug, Clone, Default)]
pub struct Sound {
    /// Peaks of the last two columns.
    peaks: [f32; 2],
    held: f32,
    /// Columns for which the peak is still held, and clipping still shown.
    hold: u32,
    clip: u32,
    /// The screen's columns, the newest last.
    cells: VecDeque<[u8; BANDS]>,
    sums: Vec<u32>,
    joined: u32,
    at_ns: Option<u64>,
}

/// How loud it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Largest sample of the last 100 ms, in dB of full scale.
    pub peak_db: f32,
    /// Largest of the last seconds.
    pub held_db: f32,
    /// Whether samples were clipped in the last seconds.
    pub is_clipped: bool,
}

impl Sound {
    /// Takes 50 ms of sound.
    pub fn push(&mut self, column: &Column, now_ns: u64) {
        self.at_ns = Some(now_ns);
        self.peaks = [self.peaks[1], column.peak];
        self.hold = self.hold.saturating_sub(1);
        self.clip = self.clip.saturating_sub(1);
        if column.peak >= self.held || self.hold == 0 {
            (self.held, self.hold) = (column.peak, HOLD_MS / COLUMN_MS);
        }
        if column.peak >= CLIPPED {
            self.clip = CLIP_MS / COLUMN_MS;
        }
        self.sums.resize(BANDS, 0);
        self.sums.iter_mut().zip(column.bands).for_each(|(sum, band)| *sum += u32::from(band));
        self.joined += 1;
        if self.joined == JOINED {
            if self.cells.len() == CELLS {
                self.cells.pop_front();
            }
            let mut cell = [0; BANDS];
            cell.iter_mut().zip(&mut self.sums).for_each(|(band, sum)| *band = (std::mem::take(sum) / JOINED) as u8);
            self.cells.push_back(cell);
            self.joined = 0;
        }
    }

    /// How loud it is; none when nothing is heard of it.
    pub fn level(&self, now_ns: u64) -> Option<Level> {
        self.at_ns.filter(|at| now_ns.saturating_sub(*at) < STALE_NS)?;
        let db = |x: f32| (20.0 * x.log10()).max(FLOOR_DB);
        Some(Level { peak_db: db(self.peaks[0].max(self.peaks[1])), held_db: db(self.held), is_clipped: self.clip > 0 })
    }

    /// The shade of a place in a picture of `rows`, counted from the lowest; `back` columns ago. Rows are narrower in the low, where most of what
    /// is heard lies.
    pub fn shade(&self, back: usize, row: usize, rows: usize) -> usize {
        let Some(cell) = self.cells.len().checked_sub(back + 1).map(|n| &self.cells[n]) else { return 0 };
        let from = |row: usize| (BANDS * row * row / (rows * rows).max(1)).min(BANDS - 1);
        let bands = &cell[from(row)..if row + 1 >= rows { BANDS } else { from(row + 1).max(from(row) + 1) }];
        let mean = bands.iter().map(|b| f32::from(*b)).sum::<f32>() / bands.len() as f32;
        let db = FLOOR_DB * (1.0 - mean / 255.0);
        SHADE_DB.iter().filter(|from| db >= **from).count()
    }

    /// How much a column of the screen shows, in ms.
    pub fn cell_ms() -> u32 {
        JOINED * COLUMN_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(peak: f32, band: u8) -> Column {
        Column { peak, rms: peak / 2.0, bands: [band; BANDS] }
    }

    #[test]
    fn a_peak_is_held_for_two_seconds_and_clipping_is_shown_for_five() {
        let mut sound = Sound::default();
        assert_eq!(sound.level(0), None);
        sound.push(&column(1.0, 0), 0);
        assert_eq!(sound.level(1), Some(Level { peak_db: 0.0, held_db: 0.0, is_clipped: true }));
        let mut quiet = |n: usize| {
            (0..n).for_each(|_| sound.push(&column(0.1, 0), 0));
            sound.level(0).unwrap()
        };
        let level = quiet(39);
        assert!((level.peak_db + 20.0).abs() < 1e-3 && level.held_db == 0.0 && level.is_clipped, "{level:?}");
        assert!((quiet(1).held_db + 20.0).abs() < 1e-3);
        assert!(quiet(59).is_clipped && !quiet(1).is_clipped);
        assert_eq!(sound.level(STALE_NS), None, "a microphone that has gone has no level");
    }

    #[test]
    fn the_picture_keeps_the_last_columns_and_shows_bands_in_their_rows() {
        let mut sound = Sound::default();
        (0..4 * CELLS + 40).for_each(|_| sound.push(&column(0.0, 0), 0));
        let mut loud = column(0.5, 0);
        // -20 dB in the upper two of six rows.
        loud.bands[28..].fill(204);
        (0..4).for_each(|_| sound.push(&loud, 0));
        assert_eq!(sound.cells.len(), CELLS);
        assert_eq!((0..6).map(|row| sound.shade(0, row, 6)).collect::<Vec<_>>(), [0, 0, 0, 0, 4, 4]);
        assert_eq!((sound.shade(1, 5, 6), sound.shade(CELLS, 0, 6), sound.shade(0, 99, 100)), (0, 0, 4));
    }
}
