//! Decoding of sound files (WAV, AIFF, FLAC, Ogg Vorbis, MP3) into blocks of mono samples.
//!
//! All channels are averaged into one: `mono = sum of the channels / their number`. Integer samples are scaled to
//! -1..1, floats are kept. A file is not trusted: what its header promises is compared with what it holds.
//!
//! A damaged file is not thrown away and not taken silently: everything that can be decoded is handed out, a packet
//! that cannot be is replaced by as much silence (times stay right), and [`SoundFile::damage`] then says what was lost.
//! A file that holds no sound at all, and a sample that is not a finite number, are errors.
//!
//! The decoders (symphonia) hold no unsafe code that could be led astray, but some of their arithmetic panics on hostile
//! headers: such a panic is caught and becomes damage or an error (where the program aborts on panics it cannot be).
//!
//! Limits: one track; a stream cut between two packets can only be told from a short one where something says how long
//! it should be: the header of a WAV, AIFF or FLAC, the LAME tag of an MP3, the last page of an Ogg file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use super::{check_finite, check_rate};
use crate::{Error, ErrorKind, Result};

/// Most channels a file may have.
const MAX_CHANNELS: usize = 64;
/// Longest silence put in the place of one damaged packet, in samples.
const MAX_PATCH_SAMPLES: u64 = 65_536;
/// Most packets in a row that may hold nothing decodable before the rest of the file is given up.
const MAX_EMPTY_PACKETS: u32 = 10_000;

/// A sound file being decoded, block after block.
pub struct SoundFile {
    name: String,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate_hz: u32,
    channels: usize,
    promised: Option<u64>,
    position: u64,
    undecodable: u64,
    damage: Option<String>,
    ended: bool,
    interleaved: Vec<f32>,
    block: Vec<f32>,
}

impl SoundFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it cannot be opened; `Input` when it is empty, not sound of a known kind, or when
    /// its header makes no sense.
    pub fn open(path: &Path) -> Result<SoundFile> {
        let mut file = File::open(path).map_err(|e| Error::io("open the sound file", path, e))?;
        let meta = file.metadata().map_err(|e| Error::io("read the sound file", path, e))?;
        if meta.is_dir() {
            return Err(Error::new(ErrorKind::Input, "a folder is not a sound file").at(path.display()).cure("give a file in it"));
        }
        let name = path.display().to_string();
        if meta.is_file() && meta.len() == 0 {
            return Err(empty(&name));
        }
        let ogg_end = ogg_end(&mut file).unwrap_or(OggEnd::NotOgg);
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::io("read the sound file", path, e))?;
        let mut sound = SoundFile::from_source(&name, path.extension().and_then(|e| e.to_str()), Box::new(file))?;
        if matches!(ogg_end, OggEnd::Cut) {
            sound.damage = Some("the stream ends without its last page: the file is cut short".into());
        }
        Ok(sound)
    }

    /// Opens any source of bytes; `name` is used in messages, `extension` as a hint.
    ///
    /// # Errors
    /// As [`SoundFile::open`].
    pub fn from_source(name: &str, extension: Option<&str>, source: Box<dyn MediaSource>) -> Result<SoundFile> {
        let mut hint = Hint::new();
        if let Some(e) = extension {
            hint.with_extension(e);
        }
        guarded(|| SoundFile::read_header(name, &hint, source))
            .unwrap_or_else(|| Err(no_sound(name, "a file that breaks its decoder, not sound that can be read")))
    }

    fn read_header(name: &str, hint: &Hint, source: Box<dyn MediaSource>) -> Result<SoundFile> {
        let stream = MediaSourceStream::new(source, Default::default());
        let format = symphonia::default::get_probe()
            .probe(hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| unreadable(name, e))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| no_sound(name, "a file without a sound track"))?;
        let params = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(|| no_sound(name, "a track without sound"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &AudioDecoderOptions::default())
            .map_err(|e| unreadable(name, e))?;
        let rate_hz = params.sample_rate.unwrap_or(0);
        check_rate(rate_hz).map_err(|e| e.at(name))?;
        let channels = params.channels.as_ref().map_or(0, |c| c.count());
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(Error::new(ErrorKind::Input, "a number of channels no sound has")
                .at(name)
                .expected(format!("1 to {MAX_CHANNELS}"))
                .found(channels)
                .cure("convert the file again from its original"));
        }
        // An MP3 without a Xing or LAME tag has no length: the number given is a guess from its bit rate.
        let guessed = format.format_info().short_name.starts_with("mp") && track.delay.is_none();
        let promised = if guessed { None } else { track.num_frames };
        let track = track.id;
        Ok(SoundFile {
            name: name.to_string(),
            format,
            decoder,
            track,
            rate_hz,
            channels,
            promised,
            position: 0,
            undecodable: 0,
            damage: None,
            ended: false,
            interleaved: Vec::new(),
            block: Vec::new(),
        })
    }

    /// Sample rate in hertz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels in the file; the blocks are their average.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples (per channel) that the header promises, when it does.
    pub fn total_samples(&self) -> Option<u64> {
        self.promised
    }

    /// Samples handed out so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What was lost of a damaged file, complete once [`SoundFile::next_block`] has returned `None`.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// The next block of mono samples, at least one, or `None` at the end.
    ///
    /// # Errors
    /// `Input` when a sample is not finite (named by its position) or when the file ends without a single sample;
    /// `Storage` when the file cannot be read further. An error ends the file.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>> {
        if self.ended {
            return Ok(None);
        }
        let result = guarded(|| self.fill_block()).unwrap_or_else(|| {
            self.lost("what follows breaks the decoder");
            Ok(false)
        });
        self.ended = !matches!(result, Ok(true));
        if result? {
            self.position += self.block.len() as u64;
            return Ok(Some(&self.block));
        }
        if self.position == 0 {
            let e = Error::new(ErrorKind::Input, "a sound file without a single sample").at(&self.name);
            let e = match &self.damage {
                Some(damage) => e.found(damage),
                None => e,
            };
            return Err(e.cure("record or copy it again"));
        }
        Ok(None)
    }

    /// Fills `block`; false at the end of what can be decoded.
    fn fill_block(&mut self) -> Result<bool> {
        let mut empty_packets = 0;
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(p)) => p,
                Ok(None) => break,
                Err(Symphonia::IoError(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(Symphonia::IoError(e)) if e.raw_os_error().is_some() => {
                    return Err(Error::io("read the sound file", &self.name, e));
                }
                Err(Symphonia::ResetRequired) => {
                    self.lost("a second stream follows in the same file and was not read");
                    return Ok(false);
                }
                Err(e) => {
                    self.lost(&format!("what follows cannot be decoded ({e})"));
                    return Ok(false);
                }
            };
            if packet.track_id != self.track {
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(audio) => {
                    let spec = audio.spec();
                    if spec.rate() != self.rate_hz {
                        let now = spec.rate();
                        self.lost(&format!("the sample rate changes to {now} Hz and the rest was not read"));
                        return Ok(false);
                    }
                    let channels = audio.num_planes().max(1);
                    self.interleaved.resize(audio.samples_interleaved(), 0.0);
                    audio.copy_to_slice_interleaved(&mut self.interleaved);
                    average_channels(&self.interleaved, channels, &mut self.block);
                    check_finite(&self.block, self.position).map_err(|e| {
                        let at = format!("{}, {}", self.name, e.place().unwrap_or_default());
                        e.at(at)
                    })?;
                }
                Err(e @ (Symphonia::DecodeError(_) | Symphonia::IoError(_))) => {
                    self.undecodable += 1;
                    self.lost(&format!("{} damaged packets were replaced by silence ({e})", self.undecodable));
                    // Silence before the first sound would only move it; after it, it keeps the times right.
                    let patch = if self.position == 0 { 0 } else { packet.dur.get().min(MAX_PATCH_SAMPLES) };
                    self.block.clear();
                    self.block.resize(patch as usize, 0.0);
                }
                Err(e) => {
                    self.lost(&format!("what follows cannot be decoded ({e})"));
                    return Ok(false);
                }
            }
            if !self.block.is_empty() {
                return Ok(true);
            }
            empty_packets += 1;
            if empty_packets > MAX_EMPTY_PACKETS {
                self.lost("what follows holds no sound");
                return Ok(false);
            }
        }
        match self.promised {
            Some(promised) if self.position < promised => {
                let held = self.position;
                self.lost(&format!("the header promises {promised} samples and the file holds {held}: it is cut short"));
            }
            _ => {}
        }
        Ok(false)
    }

    fn lost(&mut self, what: &str) {
        self.damage = Some(what.to_string());
    }
}

/// Runs a decoder; `None` when it panics, after which it must not be used again.
fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)).ok()
}

/// The whole of a file as mono samples, their rate in hertz and what was lost of it, if anything.
///
/// # Errors
/// As [`SoundFile::open`] and [`SoundFile::next_block`].
pub fn read_file(path: &Path) -> Result<(Vec<f32>, u32, Option<String>)> {
    let mut sound = SoundFile::open(path)?;
    let mut samples = Vec::new();
    while let Some(block) = sound.next_block()? {
        samples.extend_from_slice(block);
    }
    let damage = sound.damage().map(str::to_string);
    Ok((samples, sound.rate_hz(), damage))
}

/// `interleaved` \[n * channels\] to `mono` \[n\].
fn average_channels(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    mono.clear();
    if channels == 1 {
        mono.extend_from_slice(interleaved);
        return;
    }
    let n = channels as f32;
    mono.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / n));
}

enum OggEnd {
    NotOgg,
    Complete,
    Cut,
}

/// Whether an Ogg file's last page is whole and carries the end-of-stream flag (RFC 3533, section 6).
fn ogg_end(file: &mut File) -> std::io::Result<OggEnd> {
    const PAGE_MAX: u64 = 65_307;
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    if &magic != b"OggS" {
        return Ok(OggEnd::NotOgg);
    }
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(PAGE_MAX)))?;
    let mut tail = Vec::new();
    file.take(PAGE_MAX).read_to_end(&mut tail)?;
    let Some(start) = tail.windows(5).rposition(|w| w == b"OggS\0") else { return Ok(OggEnd::Cut) };
    let page = &tail[start..];
    let (Some(flags), Some(segments)) = (page.get(5), page.get(26)) else { return Ok(OggEnd::Cut) };
    let header = 27 + usize::from(*segments);
    let Some(lengths) = page.get(27..header) else { return Ok(OggEnd::Cut) };
    let body: usize = lengths.iter().map(|l| usize::from(*l)).sum();
    Ok(if flags & 4 != 0 && page.len() >= header + body { OggEnd::Complete } else { OggEnd::Cut })
}

const KINDS: &str = "a WAV, AIFF, FLAC, Ogg Vorbis or MP3 file";

fn empty(name: &str) -> Error {
    Error::new(ErrorKind::Input, "an empty file").at(name).expected(KINDS).found("0 bytes").cure("record or copy it again")
}

fn no_sound(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Input, what).at(name).expected(KINDS).cure("convert it to WAV or FLAC")
}

fn unreadable(name: &str, e: Symphonia) -> Error {
    let found = match &e {
        Symphonia::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "the file ends inside its header".to_string(),
        _ => e.to_string(),
    };
    Error::new(ErrorKind::Input, "not a sound file that can be read")
        .at(name)
        .expected(KINDS)
        .found(found)
        .cure("check that it plays elsewhere, then convert it to WAV or FLAC")
        .because(e)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A page with one segment of three bytes (RFC 3533).
    fn page(flags: u8) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend([0; 20]);
        page.extend([1, 3, 7, 7, 7]);
        page
    }

    fn is_cut(bytes: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        matches!(ogg_end(&mut file).unwrap(), OggEnd::Cut)
    }

    #[test]
    fn an_ogg_file_is_whole_when_its_last_page_is_and_carries_the_end_flag() {
        let whole = [page(2), page(0), page(4)].concat();
        assert!(!is_cut(&whole));
        assert!(is_cut(&[page(2), page(0)].concat()), "cut between two pages");
        for lost in 1..page(4).len() {
            assert!(is_cut(&whole[..whole.len() - lost]), "{lost} bytes lost");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_not_taken_for_a_cut_ogg_file() {
        assert!(!is_cut(b"RIFF and so on"));
    }
}
