//! The newest sound of one microphone, so that a clip can begin before its event was told.

use std::collections::VecDeque;

use crate::audio::capture::BlockHeader;
use crate::audio::capture::ring::MAX_BLOCK_FRAMES;

/// Where a block lies.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Number of its first sample, from the begin of what was heard.
    first: u64,
    captured_ns: u64,
    /// Whether sound is missing before it.
    is_behind_gap: bool,
}

/// 16-bit samples of the last seconds at one rate, and when they were captured.
#[derive(Debug)]
pub(super) struct Sound {
    keep_s: f64,
    rate_hz: u32,
    samples: VecDeque<i16>,
    marks: VecDeque<Mark>,
    /// Number of the next sample.
    next: u64,
    /// Stream, losses of the device and frame that the next block has if nothing is missing before it.
    follows: Option<(u32, u32, u64)>,
}

/// A cut of sound.
#[derive(Debug, PartialEq)]
pub(super) struct Cut {
    pub rate_hz: u32,
    pub samples: Vec<i16>,
    /// When its first sample was captured.
    pub begin_ns: u64,
}

impl Sound {
    /// Keeps `keep_s` of sound.
    pub fn new(keep_s: f64) -> Sound {
        Sound { keep_s, rate_hz: 0, samples: VecDeque::new(), marks: VecDeque::new(), next: 0, follows: None }
    }

    /// Takes a block.
    pub fn push(&mut self, header: &BlockHeader, block: &[f32]) {
        if header.rate_hz != self.rate_hz {
            self.rate_hz = header.rate_hz;
            let room = self.keep() + MAX_BLOCK_FRAMES;
            (self.samples, self.marks) = (VecDeque::with_capacity(room), VecDeque::new());
        }
        let is_behind_gap = self.follows != Some((header.stream, header.xruns, header.first_frame));
        self.follows = Some((header.stream, header.xruns, header.first_frame + block.len() as u64));
        self.marks.push_back(Mark { first: self.next, captured_ns: header.captured_ns, is_behind_gap });
        self.samples.extend(block.iter().map(|x| (x.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16));
        self.next += block.len() as u64;
        let old = self.samples.len().saturating_sub(self.keep());
        self.samples.drain(..old);
        let first = self.first();
        while self.marks.get(1).is_some_and(|second| second.first <= first) {
            self.marks.pop_front();
        }
    }

    /// What is there from `begin_ns` to `end_ns`, up to the first gap behind the begin; none where nothing is.
    pub fn cut(&self, begin_ns: u64, end_ns: u64) -> Option<Cut> {
        // What was asked to begin in a gap begins behind it.
        let begin = self.at(begin_ns).max(self.first());
        let gap = self.marks.iter().filter(|m| m.is_behind_gap).map(|m| m.first).find(|first| *first > begin);
        let end = self.at(end_ns).min(gap.unwrap_or(self.next));
        let (from, len) = ((begin - self.first()) as usize, end.checked_sub(begin).filter(|n| *n > 0)? as usize);
        let samples = self.samples.range(from..from + len).copied().collect();
        let mark = self.marks.iter().rev().find(|m| m.first <= begin)?;
        Some(Cut { rate_hz: self.rate_hz, samples, begin_ns: mark.captured_ns + self.ns(begin.saturating_sub(mark.first)) })
    }

    /// When the newest sample was captured.
    pub fn end_ns(&self) -> u64 {
        self.marks.back().map_or(0, |m| m.captured_ns + self.ns(self.next - m.first))
    }

    /// Number of the sample at `ns`, or of the next one that there is.
    fn at(&self, ns: u64) -> u64 {
        let later = self.marks.partition_point(|m| m.captured_ns <= ns);
        let next = self.marks.get(later).map_or(self.next, |m| m.first);
        let Some(mark) = later.checked_sub(1).map(|i| self.marks[i]) else { return next };
        let since = u128::from(ns - mark.captured_ns) * u128::from(self.rate_hz) / 1_000_000_000;
        (mark.first + since as u64).min(next)
    }

    fn first(&self) -> u64 {
        self.next - self.samples.len() as u64
    }

    fn keep(&self) -> usize {
        (self.keep_s * f64::from(self.rate_hz)) as usize
    }

    fn ns(&self, samples: u64) -> u64 {
        (samples as f64 / f64::from(self.rate_hz.max(1)) * 1e9) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A block of 10 ms at 8 kHz whose samples are all `value`, captured at `ms`.
    fn push(sound: &mut Sound, ms: u64, value: i16, stream: u32) {
        // Frames are counted whether or not they came.
        let first_frame = ms * 8;
        let header = BlockHeader { stream, rate_hz: 8000, frames: 80, captured_ns: ms * MS, first_frame, ..BlockHeader::default() };
        sound.push(&header, &[f32::from(value) / f32::from(i16::MAX); 80]);
    }

    fn runs(cut: &Cut) -> Vec<(i16, usize)> {
        let mut runs: Vec<(i16, usize)> = Vec::new();
        for x in &cut.samples {
            match runs.last_mut() {
                Some((value, n)) if value == x => *n += 1,
                _ => runs.push((*x, 1)),
            }
        }
        runs
    }

    #[test]
    fn a_cut_has_the_samples_of_its_time() {
        let mut sound = Sound::new(0.1);
        (0..30).for_each(|n| push(&mut sound, 1000 + n * 10, n as i16, 1));
        assert_eq!(sound.end_ns(), 1300 * MS);
        let cut = sound.cut(1215 * MS, 1240 * MS).unwrap();
        assert_eq!((runs(&cut), cut.begin_ns), (vec![(21, 40), (22, 80), (23, 80)], 1215 * MS));
        // Of what is older than 0.1 s nothing is there.
        let cut = sound.cut(0, 1215 * MS).unwrap();
        assert_eq!((runs(&cut), cut.begin_ns), (vec![(20, 80), (21, 40)], 1200 * MS));
        assert_eq!(sound.cut(1290 * MS, 9000 * MS).map(|c| runs(&c)), Some(vec![(29, 80)]));
        assert_eq!((sound.cut(0, 1100 * MS), sound.cut(1300 * MS, 1400 * MS)), (None, None));
    }

    #[test]
    fn a_cut_ends_at_a_gap_and_one_that_begins_in_a_gap_begins_behind_it() {
        let mut sound = Sound::new(1.0);
        (0..4).for_each(|n| push(&mut sound, n * 10, 1, 1));
        // 460 ms are missing, then the microphone was opened again.
        (0..4).for_each(|n| push(&mut sound, 500 + n * 10, 2, 1));
        (0..4).for_each(|n| push(&mut sound, 540 + n * 10, 3, 2));
        assert_eq!(sound.cut(20 * MS, 600 * MS).map(|c| runs(&c)), Some(vec![(1, 160)]));
        let cut = sound.cut(300 * MS, 600 * MS).unwrap();
        assert_eq!((runs(&cut), cut.begin_ns), (vec![(2, 320)], 500 * MS));
        assert_eq!(sound.cut(540 * MS, 600 * MS).map(|c| runs(&c)), Some(vec![(3, 320)]));
    }

    #[test]
    fn its_memory_is_taken_once_whatever_blocks_come() {
        let mut sound = Sound::new(0.1);
        push(&mut sound, 0, 1, 1);
        let room = sound.samples.capacity();
        let header = BlockHeader { stream: 1, rate_hz: 8000, frames: MAX_BLOCK_FRAMES as u32, first_frame: 80, ..BlockHeader::default() };
        (0..3).for_each(|_| sound.push(&header, &[0.0; MAX_BLOCK_FRAMES]));
        assert_eq!((sound.samples.len(), sound.samples.capacity()), (800, room));
    }

    #[test]
    fn another_rate_begins_anew() {
        let mut sound = Sound::new(1.0);
        push(&mut sound, 0, 1, 1);
        let header = BlockHeader { stream: 2, rate_hz: 16_000, frames: 80, captured_ns: 10 * MS, ..BlockHeader::default() };
        sound.push(&header, &[2.0; 80]);
        let cut = sound.cut(0, 100 * MS).unwrap();
        assert_eq!((cut.rate_hz, runs(&cut)), (16_000, vec![(i16::MAX, 80)]));
    }
}
