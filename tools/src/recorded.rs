//! When a recorder made a file: from its GUANO metadata, from the comment that an AudioMoth leaves in it, or else from its name.
//!
//! GUANO (<https://guano-md.org>) is a `guan` chunk of text lines in a WAV file; AudioMoth's comment is `ICMT` in its `LIST` chunk, as in
//! `Recorded at 19:17:30 29/10/2022 (UTC+2) by AudioMoth ...`. Names are `20221029_191730.wav` with anything before them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use wheatear::units::Moment;

/// Longest chunk of metadata that is read.
const CHUNK_LEN_MAX: u32 = 1 << 16;
/// Most chunks that are looked at.
const CHUNKS_MAX: usize = 64;
/// What a local time may be off by that does not say where.
const ZONE_MS: u32 = 14 * 3_600_000;

/// When a recording began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// By the recorder's clock, RFC 3339.
    pub begin: Timestamp,
    /// Greatest error in ms where it is known: of a time that does not say in which zone it is, and was taken for UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty_ms: Option<u32>,
    /// `guano`, `audiomoth` or `name`.
    pub from: &'static str,
}

impl Recorded {
    /// The moment so many seconds after its begin.
    pub fn after(&self, seconds: f64) -> Moment {
        let wall_ms = Some(self.begin.as_millisecond().saturating_add((seconds * 1e3).round() as i64));
        Moment { wall_ms, uncertainty_ms: self.uncertainty_ms.unwrap_or(u32::MAX), ..Moment::UNKNOWN }
    }
}

/// When `path` was recorded, where something tells.
pub fn recorded(path: &Path) -> Option<Recorded> {
    let texts = File::open(path).ok().map(|file| texts(&mut BufReader::new(file))).unwrap_or_default();
    let told = |(kind, text): &(Kind, String)| match kind {
        Kind::Guano => guano(text),
        Kind::Comment => audiomoth(text),
    };
    // GUANO first, whichever stands first.
    let of = |kind| texts.iter().filter(|t| t.0 == kind).find_map(told);
    of(Kind::Guano).or_else(|| of(Kind::Comment)).or_else(|| by_name(path.file_stem()?.to_str()?))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Guano,
    Comment,
}

/// Texts in the chunks of a WAV file; nothing of what is none, and up to where it is broken.
fn texts(file: &mut (impl Read + Seek)) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    let mut header = [0; 12];
    if file.read_exact(&mut header).is_err() || &header[..4] != b"RIFF" || &header[8..] != b"WAVE" {
        return found;
    }
    for _ in 0..CHUNKS_MAX {
        let Some((id, len)) = chunk(file) else { break };
        let kind = match &id {
            b"guan" => Kind::Guano,
            b"LIST" => Kind::Comment,
            _ => {
                if file.seek(SeekFrom::Current(i64::from(len) + i64::from(len % 2))).is_err() {
                    break;
                }
                continue;
            }
        };
        let mut bytes = Vec::new();
        if len > CHUNK_LEN_MAX || file.take(u64::from(len) + u64::from(len % 2)).read_to_end(&mut bytes).is_err() {
            break;
        }
        match kind {
            Kind::Guano => found.push((kind, text(&bytes))),
            Kind::Comment => found.extend(comment(&bytes).map(|text| (kind, text))),
        }
    }
    found
}

fn chunk(file: &mut impl Read) -> Option<([u8; 4], u32)> {
    let mut header = [0; 8];
    file.read_exact(&mut header).ok()?;
    let (id, len) = header.split_at(4);
    Some((id.try_into().ok()?, u32::from_le_bytes(len.try_into().ok()?)))
}

/// The comment in a list of information.
fn comment(list: &[u8]) -> Option<String> {
    let mut rest = list.strip_prefix(b"INFO")?;
    while rest.len() >= 8 {
        let (id, len) = (&rest[..4], u32::from_le_bytes(rest[4..8].try_into().ok()?) as usize);
        let body = rest.get(8..8usize.checked_add(len)?)?;
        if id == b"ICMT" {
            return Some(text(body));
        }
        rest = rest.get(8 + len + len % 2..)?;
    }
    None
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches(['\0', '\n', ' ']).to_owned()
}

fn guano(text: &str) -> Option<Recorded> {
    let value = text.lines().find_map(|line| line.strip_prefix("Timestamp:"))?.trim();
    let (begin, uncertainty_ms) = match value.parse::<Timestamp>() {
        Ok(begin) => (begin, None),
        Err(_) => (utc(value.parse::<DateTime>().ok()?)?, Some(ZONE_MS)),
    };
    Some(Recorded { begin, uncertainty_ms, from: "guano" })
}

/// `Recorded at 19:17:30 29/10/2022 (UTC-3:30) by AudioMoth ...`
fn audiomoth(text: &str) -> Option<Recorded> {
    let (time, rest) = text.strip_prefix("Recorded at ")?.split_once(' ')?;
    let (date, rest) = rest.split_once(" (UTC")?;
    let (zone, rest) = rest.split_once(')')?;
    if !rest.contains("AudioMoth") {
        return None;
    }
    let mut date = date.split('/').map(str::parse::<i16>);
    let mut next = || date.next()?.ok();
    let (day, month, year) = (next()?, next()?, next()?);
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let at = date.to_datetime(time.parse::<Time>().ok()?);
    let begin = at.to_zoned(TimeZone::fixed(offset(zone)?)).ok()?.timestamp();
    Some(Recorded { begin, uncertainty_ms: None, from: "audiomoth" })
}

/// Nothing, `+2`, `-3:30`.
fn offset(zone: &str) -> Option<Offset> {
    let Some(sign) = zone.chars().next() else { return Some(Offset::UTC) };
    let sign = match sign {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':').unwrap_or((&zone[1..], "0"));
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok().filter(|m| *m < 60)?);
    Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)).ok()
}

/// `..._20221029_191730`
fn by_name(stem: &str) -> Option<Recorded> {
    let (rest, time) = stem.rsplit_once('_')?;
    let date = rest.rsplit_once('_').map_or(rest, |(_, date)| date);
    let are_digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(date, 8) || !are_digits(time, 6) {
        return None;
    }
    let begin = utc(format!("{date}T{time}").parse().ok()?)?;
    Some(Recorded { begin, uncertainty_ms: Some(ZONE_MS), from: "name" })
}

fn utc(at: DateTime) -> Option<Timestamp> {
    at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn wav(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WAVE".to_vec();
        for (id, bytes) in chunks {
            body.extend_from_slice(*id);
            body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            body.extend_from_slice(bytes);
            body.resize(body.len().next_multiple_of(2), 0);
        }
        [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
    }

    fn info(comment: &str) -> Vec<u8> {
        let mut list = b"INFOICMT".to_vec();
        list.extend_from_slice(&(comment.len() as u32).to_le_bytes());
        list.extend_from_slice(comment.as_bytes());
        list
    }

    fn told(name: &str, bytes: &[u8]) -> Option<(String, Option<u32>, &'static str)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        recorded(&path).map(|r| (r.begin.to_string(), r.uncertainty_ms, r.from))
    }

    #[test]
    fn an_audiomoth_says_when_and_in_which_zone() {
        let moth = "by AudioMoth 24F31901603710F8 at medium gain while battery was 4.4V and temperature was 23.2C.";
        for (at, expected) in [
            ("19:17:30 29/10/2022 (UTC)", "2022-10-29T19:17:30Z"),
            ("19:17:30 29/10/2022 (UTC+2)", "2022-10-29T17:17:30Z"),
            ("22:17:30 31/12/2022 (UTC-3:30)", "2023-01-01T01:47:30Z"),
            ("19:17:30.500 29/10/2022 (UTC)", "2022-10-29T19:17:30.5Z"),
        ] {
            let list = info(&format!("Recorded at {at} {moth}"));
            let bytes = wav(&[(b"fmt ", &[0; 16]), (b"LIST", &list), (b"data", &[0; 7])]);
            assert_eq!(told("x.WAV", &bytes), Some((expected.to_owned(), None, "audiomoth")));
        }
        for wrong in ["25:00:00 29/10/2022 (UTC)", "19:17:30 29/13/2022 (UTC)", "19:17:30 29/10/2022 (UTC*2)", "19:17:30"] {
            let list = info(&format!("Recorded at {wrong} {moth}"));
            assert_eq!(told("x.wav", &wav(&[(b"LIST", &list)])), None, "{wrong}");
        }
    }

    #[test]
    fn guano_goes_before_other_signs_and_a_time_without_a_zone_is_as_uncertain_as_zones_are() {
        let list = info("Recorded at 19:17:30 29/10/2022 (UTC) by AudioMoth 1");
        let at = |timestamp: &str| {
            let guano = format!("GUANO|Version: 1.0\nTimestamp: {timestamp}\nMake: x");
            told("20200101_000000.wav", &wav(&[(b"LIST", &list), (b"data", &[0; 8]), (b"guan", guano.as_bytes())]))
        };
        assert_eq!(at("2024-06-01T22:00:00+02:00"), Some(("2024-06-01T20:00:00Z".into(), None, "guano")));
        assert_eq!(at("2024-06-01T22:00:00.250Z"), Some(("2024-06-01T22:00:00.25Z".into(), None, "guano")));
        assert_eq!(at("2024-06-01T22:00:00"), Some(("2024-06-01T22:00:00Z".into(), Some(ZONE_MS), "guano")));
        assert_eq!(at("yesterday").map(|t| t.2), Some("audiomoth"));
    }

    #[test]
    fn a_name_tells_where_nothing_else_does() {
        for (name, expected) in [
            ("20221029_191730.WAV", Some("2022-10-29T19:17:30Z")),
            ("SM4_yard_20221029_191730.flac", Some("2022-10-29T19:17:30Z")),
            ("20221329_191730.wav", None),
            ("wren_1.wav", None),
            ("20221029.wav", None),
        ] {
            assert_eq!(told(name, b"not a wav file").map(|t| t.0).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_broken_file_tells_what_stands_before_the_break_and_nothing_panics() {
        let list = info("Recorded at 19:17:30 29/10/2022 (UTC) by AudioMoth 1");
        let whole = wav(&[(b"LIST", &list), (b"guan", b"Timestamp: 2024-06-01T22:00:00Z"), (b"data", &[0; 8])]);
        for len in 0..whole.len() {
            let found = texts(&mut Cursor::new(&whole[..len]));
            assert!(found.len() <= 2);
        }
        let mut huge = whole.clone();
        huge[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(told("x.wav", &huge), None);
    }

    #[test]
    fn moments_follow_the_begin() {
        let recorded = by_name("20221029_191730").unwrap();
        assert_eq!(recorded.after(1.5).wall_ms, Some(recorded.begin.as_millisecond() + 1500));
        assert_eq!(recorded.after(0.0).uncertainty_ms, ZONE_MS);
    }
}
