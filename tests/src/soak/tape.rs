//! Clip after clip as one sound of one rate, in pieces of any length, with a note of where each lies.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use wheatear::audio::decode::SoundFile;
use wheatear::audio::resample::Resampler;
use wheatear::{Error, Result};

use super::clips::Clips;

/// Clips that are noted.
const NOTED: usize = 64;
/// Room for what waits, taken at once and touched, so that the process does not grow with the longest clip: 80 s at 48 kHz.
const ROOM: usize = 80 * 48_000;

/// Clips, joined.
pub struct Tape {
    clips: Clips,
    rate_hz: u32,
    waiting: Vec<f32>,
    given: u64,
    noted: VecDeque<(String, Range<u64>)>,
}

impl Tape {
    /// Of `clips`, at `rate_hz`.
    pub fn new(clips: Clips, rate_hz: u32) -> Tape {
        let mut waiting = vec![1.0; ROOM];
        waiting.clear();
        Tape { clips, rate_hz, waiting, given: 0, noted: VecDeque::with_capacity(NOTED) }
    }

    /// Fills `samples`.
    ///
    /// # Errors
    /// As [`SoundFile::open`] and [`SoundFile::next_block`].
    pub fn fill(&mut self, samples: &mut [f32]) -> Result<()> {
        while self.waiting.len() < samples.len() {
            self.read()?;
        }
        samples.copy_from_slice(&self.waiting[..samples.len()]);
        self.waiting.drain(..samples.len());
        self.given += samples.len() as u64;
        Ok(())
    }

    /// The next so many seconds as a WAV file of 16-bit samples.
    ///
    /// # Errors
    /// As [`Tape::fill`]; `Storage` when the file cannot be written.
    pub fn write(&mut self, path: &Path, seconds: f64) -> Result<()> {
        let mut samples = vec![0.0; (seconds * f64::from(self.rate_hz)) as usize];
        self.fill(&mut samples)?;
        let (len_bytes, bytes_per_s) = (2 * samples.len() as u32, 2 * self.rate_hz);
        let mut bytes = Vec::with_capacity(44 + len_bytes as usize);
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&(36 + len_bytes).to_le_bytes());
        bytes.extend_from_slice(b"WAVEfmt ");
        bytes.extend_from_slice(&16u32.to_le_bytes());
        // PCM, one channel.
        bytes.extend_from_slice(&[1, 0, 1, 0]);
        bytes.extend_from_slice(&self.rate_hz.to_le_bytes());
        bytes.extend_from_slice(&bytes_per_s.to_le_bytes());
        bytes.extend_from_slice(&[2, 0, 16, 0]);
        bytes.extend_from_slice(b"data");
        bytes.extend_from_slice(&len_bytes.to_le_bytes());
        samples.iter().for_each(|x| bytes.extend_from_slice(&((x.clamp(-1.0, 1.0) * 32767.0) as i16).to_le_bytes()));
        std::fs::write(path, bytes).map_err(|e| Error::io("write", path, e))
    }

    /// The clips that were given to their end with the last `samples` samples: class, and samples counted from the first.
    pub fn ended(&self, samples: usize) -> impl Iterator<Item = &(String, Range<u64>)> {
        let within = self.given.saturating_sub(samples as u64)..=self.given;
        self.noted.iter().filter(move |(_, clip)| within.contains(&clip.end))
    }

    /// Puts the next clip behind what waits.
    fn read(&mut self) -> Result<()> {
        let Some(clip) = self.clips.next() else { return Ok(()) };
        let mut sound = SoundFile::open(&clip.path)?;
        let mut resampler = Resampler::new(sound.rate_hz(), self.rate_hz)?;
        let waiting = &mut self.waiting;
        let begin = self.given + waiting.len() as u64;
        let mut keep = |samples: &[f32]| {
            waiting.extend_from_slice(samples);
            Ok(())
        };
        while let Some(block) = sound.next_block()? {
            resampler.push(block, &mut keep)?;
        }
        resampler.finish(&mut keep)?;
        if self.noted.len() == NOTED {
            self.noted.pop_front();
        }
        self.noted.push_back((clip.class, begin..self.given + self.waiting.len() as u64));
        Ok(())
    }
}
