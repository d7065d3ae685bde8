//! A WAV file of what a microphone gives, in which time is true: sound that was lost stands in it as silence.
//!
//! Frames that were dropped are known by number. What the device itself lost (an xrun, or a while without the device) is known
//! by the time of what came after, to about the length of one callback. Sound at another rate than the file's is resampled.
//! Limits: mono; never longer than was asked for.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use hound::{SampleFormat, WavSpec, WavWriter};
use serde::Serialize;
use wheatear::audio::capture::BlockHeader;
use wheatear::audio::resample::Resampler;
use wheatear::{Error, ErrorKind, Result};

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Samples {
    /// 32-bit floats: what was heard, to the bit
    #[default]
    F32,
    /// 16-bit integers: half as long
    I16,
}

/// The file, and how far it is.
pub struct Tape {
    path: PathBuf,
    wav: WavWriter<BufWriter<File>>,
    samples: Samples,
    rate_hz: u32,
    wanted: u64,
    written: u64,
    silence: u64,
    begun_ns: Option<u64>,
    last: BlockHeader,
    resampler: Resampler,
}

impl Tape {
    /// A new file at `path` for `seconds` of sound at `rate_hz`.
    ///
    /// # Errors
    /// `Input` where there is a file already, `Limit` when it would be longer than a WAV file can be.
    pub fn create(path: &Path, samples: Samples, rate_hz: u32, seconds: u32) -> Result<Tape> {
        let wanted = u64::from(seconds) * u64::from(rate_hz);
        if wanted * 4 > u64::from(u32::MAX) - 4096 {
            return Err(Error::new(ErrorKind::Limit, "a WAV file cannot be that long")
                .at(path.display())
                .expected("at most 4 GiB")
                .found(format!("{seconds} s at {rate_hz} Hz"))
                .cure("record several shorter files, or at a lower rate"));
        }
        let file = File::create_new(path).map_err(|e| Error::io("create", path, e))?;
        let (bits_per_sample, sample_format) = match samples {
            Samples::F32 => (32, SampleFormat::Float),
            Samples::I16 => (16, SampleFormat::Int),
        };
        let spec = WavSpec { channels: 1, sample_rate: rate_hz, bits_per_sample, sample_format };
        let wav = WavWriter::new(BufWriter::new(file), spec).map_err(|e| write_error(path, e))?;
        let (path, resampler) = (path.to_owned(), Resampler::new(rate_hz, rate_hz)?);
        let last = BlockHeader::default();
        Ok(Tape { path, wav, samples, rate_hz, wanted, written: 0, silence: 0, begun_ns: None, last, resampler })
    }

    /// Writes a block where it belongs.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn take(&mut self, header: &BlockHeader, block: &[f32]) -> Result<()> {
        let begun_ns = *self.begun_ns.get_or_insert(header.captured_ns);
        let (last, is_first) = (self.last, self.last.frames == 0);
        self.last = *header;
        if !is_first && header.stream != last.stream {
            self.change_rate(header.rate_hz)?;
        } else if is_first {
            self.resampler = Resampler::new(header.rate_hz, self.rate_hz)?;
        }
        let missing = header.first_frame.saturating_sub(last.first_frame + u64::from(last.frames));
        if !is_first && missing > 0 {
            self.silence(scaled(missing, self.rate_hz, last.rate_hz))?;
        }
        if !is_first && (header.stream, header.xruns) != (last.stream, last.xruns) {
            let place = scaled(header.captured_ns.saturating_sub(begun_ns), self.rate_hz, 1_000_000_000);
            self.silence(place.saturating_sub(self.written))?;
        }
        self.resample(block)
    }

    /// Whether all that was asked for is there.
    pub fn is_full(&self) -> bool {
        self.written >= self.wanted
    }

    /// Makes what is there readable, whatever happens next.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.wav.flush().map_err(|e| write_error(&self.path, e))
    }

    /// Ends the file; returns how many frames it has, and how many of them are silence in place of what was lost.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn finish(mut self) -> Result<(u64, u64)> {
        self.change_rate(self.rate_hz)?;
        self.wav.finalize().map_err(|e| write_error(&self.path, e))?;
        Ok((self.written, self.silence))
    }

    /// Writes what the resampler still holds, and takes sound at `rate_hz` from now on.
    fn change_rate(&mut self, rate_hz: u32) -> Result<()> {
        let next = Resampler::new(rate_hz, self.rate_hz)?;
        let mut before = std::mem::replace(&mut self.resampler, next);
        before.finish(&mut |x| self.write(x))
    }

    fn resample(&mut self, block: &[f32]) -> Result<()> {
        let idle = Resampler::new(self.rate_hz, self.rate_hz)?;
        let mut resampler = std::mem::replace(&mut self.resampler, idle);
        let result = resampler.push(block, &mut |x| self.write(x));
        self.resampler = resampler;
        result
    }

    fn silence(&mut self, frames: u64) -> Result<()> {
        let frames = frames.min(self.wanted.saturating_sub(self.written));
        for _ in 0..frames {
            self.write(&[0.0])?;
        }
        self.silence += frames;
        Ok(())
    }

    fn write(&mut self, samples: &[f32]) -> Result<()> {
        let room = usize::try_from(self.wanted.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let samples = &samples[..samples.len().min(room)];
        for x in samples {
            let result = match self.samples {
                Samples::F32 => self.wav.write_sample(*x),
                Samples::I16 => self.wav.write_sample((x * 32768.0).round().clamp(-32768.0, 32767.0) as i16),
            };
            result.map_err(|e| write_error(&self.path, e))?;
        }
        self.written += samples.len() as u64;
        Ok(())
    }
}

/// `n * to / from`, rounded; 0 for a rate of 0.
fn scaled(n: u64, to: u32, from: u32) -> u64 {
    let (n, to, from) = (u128::from(n), u128::from(to), u128::from(from));
    u64::try_from((n * to + from / 2).checked_div(from).unwrap_or(0)).unwrap_or(u64::MAX)
}

fn write_error(path: &Path, e: hound::Error) -> Error {
    match e {
        hound::Error::IoError(e) => Error::io("write", path, e),
        other => {
            Error::new(ErrorKind::Storage, "cannot write").at(path.display()).found(other.to_string()).cure("record into another file")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(stream: u32, rate_hz: u32, first_frame: u64, frames: u32, captured_ms: u64) -> BlockHeader {
        BlockHeader { stream, rate_hz, frames, xruns: 0, first_frame, captured_ns: captured_ms * 1_000_000 }
    }

    /// What a tape of 2 seconds at 1000 Hz has of blocks of ones: the lengths of its runs of sound and silence in turn.
    fn runs(blocks: &[BlockHeader], samples: Samples) -> (Vec<u64>, u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut tape = Tape::create(&path, samples, 1000, 2).unwrap();
        for h in blocks {
            tape.take(h, &vec![0.5; h.frames as usize]).unwrap();
        }
        let (frames, silence) = tape.finish().unwrap();
        let mut wav = hound::WavReader::open(&path).unwrap();
        let heard: Vec<bool> = match samples {
            Samples::F32 => wav.samples::<f32>().map(|x| x.unwrap() == 0.5).collect(),
            Samples::I16 => wav.samples::<i16>().map(|x| x.unwrap() == 16384).collect(),
        };
        assert_eq!((wav.spec().sample_rate, heard.len() as u64), (1000, frames));
        let runs = heard.chunk_by(|a, b| a == b).map(|run| run.len() as u64).collect();
        (runs, frames, silence)
    }

    #[test]
    fn frames_that_were_dropped_stand_as_silence() {
        let blocks = [header(1, 1000, 50, 100, 0), header(1, 1000, 150, 20, 0), header(1, 1000, 200, 100, 0)];
        for samples in [Samples::F32, Samples::I16] {
            assert_eq!(runs(&blocks, samples), (vec![120, 30, 100], 250, 30));
        }
    }

    #[test]
    fn a_while_without_the_device_stands_as_silence_by_the_clock() {
        let blocks = [header(1, 1000, 0, 100, 7000), header(2, 1000, 100, 100, 7600), header(2, 1000, 200, 10, 9999)];
        assert_eq!(runs(&blocks, Samples::F32), (vec![100, 500, 110], 710, 500), "within a stream frames count, not the clock");
    }

    #[test]
    fn what_the_device_lost_by_itself_stands_as_silence_by_the_clock() {
        let xrun = BlockHeader { xruns: 1, ..header(1, 1000, 100, 100, 140) };
        assert_eq!(runs(&[header(1, 1000, 0, 100, 0), xrun], Samples::F32), (vec![100, 40, 100], 240, 40));
        let early = BlockHeader { xruns: 1, ..header(1, 1000, 100, 100, 90) };
        assert_eq!(runs(&[header(1, 1000, 0, 100, 0), early], Samples::F32), (vec![200], 200, 0));
    }

    #[test]
    fn a_tape_is_never_longer_than_asked_for_however_long_the_device_was_away() {
        let blocks = [header(1, 1000, 0, 100, 0), header(2, 1000, 100, 100, 1_000_000_000)];
        assert_eq!(runs(&blocks, Samples::F32), (vec![100, 1900], 2000, 1900));
        assert_eq!(runs(&[header(1, 1000, 0, 5000, 0)], Samples::F32), (vec![2000], 2000, 0));
    }

    #[test]
    fn sound_at_another_rate_after_a_reopening_is_resampled_to_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut tape = Tape::create(&path, Samples::F32, 16_000, 2).unwrap();
        let tone = |rate: f32, n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32 * 440.0 * std::f32::consts::TAU / rate).sin()).collect() };
        tape.take(&header(1, 16_000, 0, 8000, 0), &tone(16e3, 8000)).unwrap();
        tape.take(&header(2, 48_000, 8000, 24_000, 500), &tone(48e3, 24_000)).unwrap();
        assert_eq!(tape.finish().unwrap(), (16_000, 0));
        let x: Vec<f32> = hound::WavReader::open(&path).unwrap().samples::<f32>().map(|x| x.unwrap()).collect();
        let error = x[9000..15_000].iter().zip(&tone(16e3, 8000)[1000..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 0.01, "{error}");
    }

    #[test]
    fn a_file_that_is_there_and_one_longer_than_wav_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let long = Tape::create(&path, Samples::F32, 384_000, 86_400).map(|_| ()).unwrap_err();
        assert!(long.kind() == ErrorKind::Limit && !path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(Tape::create(&path, Samples::F32, 16_000, 1).map(|_| ()).unwrap_err().kind(), ErrorKind::Input);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
