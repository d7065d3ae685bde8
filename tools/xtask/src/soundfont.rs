//! Reads SoundFont 2 files: which samples an instrument uses, and the 16-bit samples themselves.
//!
//! Only what extraction needs: the names of instruments, the `sampleID` generators of their zones and the sample headers
//! (SoundFont Technical Specification 2.04, sections 4 to 7). Presets, modulators, loops, 24-bit extensions and ROM samples
//! are not read. Every size and index in the file is checked before it is used; sample data is read one note at a time.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Seek, SeekFrom};

/// Largest hydra ("pdta") sub-chunk accepted, in bytes; real banks stay below one MiB.
const MAX_TABLE_BYTES: u64 = 16 << 20;
/// Longest single sample accepted, in sample points.
const MAX_SAMPLE_POINTS: u64 = 60 * 192_000;
/// Generator operator that names a zone's sample.
const SAMPLE_ID: u16 = 53;

/// One opened SoundFont.
pub struct SoundFont<R> {
    file: R,
    smpl_start: u64,
    instruments: Vec<Instrument>,
    samples: Vec<Sample>,
}

/// An instrument and the samples its zones play, each once, in the order of the zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    pub name: String,
    pub samples: Vec<usize>,
}

/// A sample header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub name: String,
    pub rate_hz: u32,
    pub channel: Channel,
    start: u64,
    end: u64,
}

/// Which channel of a recording a sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Mono,
    Left,
    Right,
    /// Linked in some other way, or in ROM: not extracted.
    Other,
}

impl Sample {
    /// Number of sample points.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// The channel, by header, or by a trailing `R` where a bank marks pairs by name alone.
    pub fn is_right(&self) -> bool {
        self.channel == Channel::Right || self.name.ends_with("(R)") || (self.channel == Channel::Mono && ends_with_mark(&self.name, 'R'))
    }

    /// The name without its channel mark: `Alto D4(L)` and `Strings G6 L` give `Alto D4` and `Strings G6`.
    pub fn note(&self) -> &str {
        let name = self.name.trim_end();
        let bare = name.strip_suffix("(L)").or_else(|| name.strip_suffix("(R)"));
        let bare = bare.or_else(|| (ends_with_mark(name, 'L') || ends_with_mark(name, 'R')).then(|| &name[..name.len() - 1]));
        bare.unwrap_or(name).trim_end()
    }
}

/// Whether `name` ends in a note's octave followed by a channel letter, as `Strings G2L` does.
fn ends_with_mark(name: &str, mark: char) -> bool {
    name.strip_suffix(mark).is_some_and(|rest| rest.trim_end().ends_with(|c: char| c.is_ascii_digit()))
}

impl<R: Read + Seek> SoundFont<R> {
    /// Reads the tables of `file`.
    pub fn open(mut file: R) -> Result<Self> {
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut head = [0; 12];
        file.read_exact(&mut head).context("the file is shorter than a RIFF header")?;
        ensure!(&head[..4] == b"RIFF" && &head[8..] == b"sfbk", "not a SoundFont 2 file: expected RIFF ... sfbk");
        let riff_end = 8 + u64::from(le32(&head[4..]));
        ensure!(riff_end <= end, "the SoundFont is cut off: {riff_end} bytes announced, {end} there");

        let (mut smpl, mut tables) = (None, Tables::default());
        for list in chunks(&mut file, 12, riff_end)? {
            if &list.id != b"LIST" || list.len < 4 {
                continue;
            }
            let form = read_at(&mut file, list.start, 4)?;
            let inner = chunks(&mut file, list.start + 4, list.start + list.len)?;
            match form.as_slice() {
                b"sdta" => smpl = inner.iter().find(|c| &c.id == b"smpl").copied(),
                b"pdta" => tables = Tables::read(&mut file, &inner)?,
                _ => {}
            }
        }
        let smpl = smpl.context("the SoundFont has no smpl chunk")?;
        let samples = tables.samples(smpl.len / 2)?;
        let instruments = tables.instruments(samples.len())?;
        Ok(SoundFont { file, smpl_start: smpl.start, instruments, samples })
    }

    /// The first instrument called `name`.
    pub fn instrument(&self, name: &str) -> Option<&Instrument> {
        self.instruments.iter().find(|i| i.name == name)
    }

    /// The header of sample `index`, as [`Instrument::samples`] holds it.
    pub fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }

    /// One channel of each recording of `instrument`: left where there are two.
    pub fn notes(&self, instrument: &Instrument) -> Vec<usize> {
        let kept = |i: &&usize| self.samples[**i].channel != Channel::Other && !self.samples[**i].is_right();
        instrument.samples.iter().filter(kept).copied().collect()
    }

    /// The sample points of sample `index`.
    pub fn points(&mut self, index: usize) -> Result<Vec<i16>> {
        let s = &self.samples[index];
        let bytes = read_at(&mut self.file, self.smpl_start + 2 * s.start, 2 * s.len()).with_context(|| format!("sample {}", s.name))?;
        Ok(bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect())
    }
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    id: [u8; 4],
    start: u64,
    len: u64,
}

/// The chunks between `at` and `end`; one that reaches past `end` is an error.
fn chunks(file: &mut (impl Read + Seek), mut at: u64, end: u64) -> Result<Vec<Chunk>> {
    let mut found = Vec::new();
    while at + 8 <= end {
        let head = read_at(file, at, 8)?;
        let (start, len) = (at + 8, u64::from(le32(&head[4..])));
        ensure!(start + len <= end, "chunk at byte {at} reaches to {}, past the end of its parent at {end}", start + len);
        ensure!(found.len() < 1024, "more than 1024 chunks in one list");
        found.push(Chunk { id: [head[0], head[1], head[2], head[3]], start, len });
        at = start + len + (len & 1);
    }
    Ok(found)
}

fn read_at(file: &mut (impl Read + Seek), at: u64, len: u64) -> Result<Vec<u8>> {
    ensure!(len <= MAX_TABLE_BYTES.max(2 * MAX_SAMPLE_POINTS), "refusing to read {len} bytes at once");
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes).with_context(|| format!("cannot read {len} bytes at byte {at}"))?;
    Ok(bytes)
}

#[derive(Default)]
struct Tables {
    inst: Vec<u8>,
    ibag: Vec<u8>,
    igen: Vec<u8>,
    shdr: Vec<u8>,
}

impl Tables {
    fn read(file: &mut (impl Read + Seek), chunks: &[Chunk]) -> Result<Tables> {
        let mut table = |id: &[u8; 4], record: u64| -> Result<Vec<u8>> {
            let name = String::from_utf8_lossy(id);
            let chunk = chunks.iter().find(|c| &c.id == id).with_context(|| format!("the SoundFont has no {name} table"))?;
            ensure!(chunk.len <= MAX_TABLE_BYTES, "{name} is larger than {MAX_TABLE_BYTES} bytes");
            ensure!(chunk.len >= record && chunk.len % record == 0, "{name}: {} bytes are no multiple of {record}", chunk.len);
            read_at(file, chunk.start, chunk.len)
        };
        Ok(Tables { inst: table(b"inst", 22)?, ibag: table(b"ibag", 4)?, igen: table(b"igen", 4)?, shdr: table(b"shdr", 46)? })
    }

    /// All headers but the terminal one; `points` is the size of the smpl chunk.
    fn samples(&self, points: u64) -> Result<Vec<Sample>> {
        let headers = self.shdr.as_chunks::<46>().0;
        let mut samples = Vec::with_capacity(headers.len());
        for h in headers.split_last().map_or(&[][..], |(_, rest)| rest) {
            let (name, start, end) = (text(&h[..20]), u64::from(le32(&h[20..])), u64::from(le32(&h[24..])));
            let rate_hz = le32(&h[36..]);
            let channel = match le16(&h[44..]) {
                1 => Channel::Mono,
                2 => Channel::Right,
                4 => Channel::Left,
                _ => Channel::Other,
            };
            if channel != Channel::Other {
                let in_bounds = start <= end && end <= points && end - start <= MAX_SAMPLE_POINTS;
                ensure!(in_bounds, "sample {name}: points {start}..{end} do not lie in 0..{points}");
                ensure!((400..=192_000).contains(&rate_hz), "sample {name}: {rate_hz} Hz is no usable rate");
            }
            samples.push(Sample { name, rate_hz, channel, start, end: end.max(start) });
        }
        Ok(samples)
    }

    fn instruments(&self, samples: usize) -> Result<Vec<Instrument>> {
        let (bags, generators) = (self.ibag.as_chunks::<4>().0, self.igen.as_chunks::<4>().0);
        let mut found = Vec::new();
        for pair in self.inst.as_chunks::<22>().0.windows(2) {
            let name = text(&pair[0][..20]);
            let zones = range(le16(&pair[0][20..]), le16(&pair[1][20..]), bags.len()).with_context(|| format!("instrument {name}"))?;
            let mut used = Vec::new();
            for zone in zones {
                let Some(next) = bags.get(zone + 1) else { bail!("instrument {name}: zone {zone} has no end") };
                let span =
                    range(le16(&bags[zone]), le16(next), generators.len()).with_context(|| format!("instrument {name}, zone {zone}"))?;
                for generator in generators[span].iter().filter(|g| le16(*g) == SAMPLE_ID) {
                    let index = usize::from(le16(&generator[2..]));
                    ensure!(index < samples, "instrument {name} names sample {index} of {samples}");
                    if !used.contains(&index) {
                        used.push(index);
                    }
                }
            }
            found.push(Instrument { name, samples: used });
        }
        Ok(found)
    }
}

fn range(from: u16, to: u16, len: usize) -> Result<std::ops::Range<usize>> {
    let (from, to) = (usize::from(from), usize::from(to));
    ensure!(from <= to && to <= len, "indices {from}..{to} do not lie in 0..{len}");
    Ok(from..to)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes[..end].iter().map(|b| char::from(*b)).collect::<String>().trim().to_string()
}

fn le16(b: &[u8]) -> u16 {
    u16::from_le_bytes([b[0], b[1]])
}

fn le32(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

#[cfg(test)]
#[path = "soundfont_tests.rs"]
mod tests;
