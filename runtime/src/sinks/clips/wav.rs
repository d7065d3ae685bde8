//! A clip as bytes: 16-bit WAV with GUANO metadata (a `guan` chunk of text lines, as bat detectors write it), encrypted where a key is given.

use std::io::{Cursor, Write};

use age::x25519::Recipient;

use super::sound::Cut;
use crate::sinks::utc::utc;
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// What is known of a clip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct About {
    /// Number of the event, or of the window that was asked about.
    pub number: u64,
    pub source: String,
    /// What was heard; none of a question.
    pub class: Option<String>,
    pub probability: f32,
    /// When the event began.
    pub begin: Moment,
}

/// The file of `cut`, which began at `begin`, for whoever holds the key of `recipient`.
///
/// # Errors
/// `Storage` when it cannot be encrypted, or is too long for a WAV file.
pub(super) fn file(cut: &Cut, about: &About, begin: &Moment, recipient: Option<&Recipient>) -> Result<Vec<u8>> {
    let cannot = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Storage, "a clip cannot be written down").found(e.to_string());
    let spec = hound::WavSpec { channels: 1, sample_rate: cut.rate_hz, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut wav = Cursor::new(Vec::with_capacity(2 * cut.samples.len() + 1024));
    let mut writer = hound::WavWriter::new(&mut wav, spec).map_err(|e| cannot(&e))?;
    let mut samples = writer.get_i16_writer(cut.samples.len() as u32);
    cut.samples.iter().for_each(|x| samples.write_sample(*x));
    samples.flush().map_err(|e| cannot(&e))?;
    writer.finalize().map_err(|e| cannot(&e))?;
    let mut wav = wav.into_inner();
    let mut text = guano(cut, about, begin).into_bytes();
    text.resize(text.len().next_multiple_of(2), b'\n');
    wav.extend_from_slice(b"guan");
    wav.extend_from_slice(&(text.len() as u32).to_le_bytes());
    wav.extend_from_slice(&text);
    let riff = (wav.len() - 8) as u32;
    wav[4..8].copy_from_slice(&riff.to_le_bytes());
    let Some(recipient) = recipient else { return Ok(wav) };
    let to = std::iter::once(recipient as &dyn age::Recipient);
    let mut sealed = age::Encryptor::with_recipients(to).map_err(|e| cannot(&e))?.wrap_output(Vec::new()).map_err(|e| cannot(&e))?;
    sealed.write_all(&wav).map_err(|e| cannot(&e))?;
    sealed.finish().map_err(|e| cannot(&e))
}

fn guano(cut: &Cut, about: &About, begin: &Moment) -> String {
    // A line ends a value.
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    let mut text = format!("GUANO|Version: 1.0\nMake: Wheatear\nSamplerate: {}\n", cut.rate_hz);
    text += &format!("Length: {:.3}\n", cut.samples.len() as f64 / f64::from(cut.rate_hz.max(1)));
    let at = utc(begin);
    if !at.is_empty() {
        text += &format!("Timestamp: {at}\n");
    }
    if let Some(class) = &about.class {
        text += &format!("Species Auto ID: {}\nWheatear|Probability: {:.4}\n", line(class), about.probability);
    }
    let what = if about.class.is_some() { "Event" } else { "Question" };
    let offset_s = about.begin.monotonic_ns.saturating_sub(begin.monotonic_ns) as f64 * 1e-9;
    text += &format!("Wheatear|{what}: {}\nWheatear|Microphone: {}\nWheatear|Begin: {offset_s:.3}\n", about.number, line(&about.source));
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn clip() -> (Cut, About, Moment) {
        let cut = Cut { rate_hz: 8000, samples: (0..4001).map(|n| n as i16).collect(), begin_ns: 5 };
        let begin = Moment { wall_ms: Some(0), monotonic_ns: 5, ..Moment::UNKNOWN };
        let class = Some("wren\nor robin".to_owned());
        let event = Moment { monotonic_ns: 250_000_005, ..begin };
        (cut, About { number: 7, source: "yard".into(), class, probability: 0.75, begin: event }, begin)
    }

    #[test]
    fn a_clip_is_a_wav_file_with_its_metadata_behind_the_sound() {
        let (cut, about, begin) = clip();
        let wav = file(&cut, &about, &begin, None).unwrap();
        let mut reader = hound::WavReader::new(Cursor::new(&wav)).unwrap();
        assert_eq!(reader.spec().sample_rate, 8000);
        assert_eq!(reader.samples::<i16>().collect::<std::result::Result<Vec<_>, _>>().unwrap(), cut.samples);
        assert_eq!(u32::from_le_bytes(wav[4..8].try_into().unwrap()) as usize, wav.len() - 8);
        let text = String::from_utf8(wav[44 + 2 * 4001 + 8..].to_vec()).unwrap();
        assert_eq!(&wav[44 + 2 * 4001..][..4], b"guan");
        for line in ["Timestamp: 1970-01-01T00:00:00.000Z", "Length: 0.500", "Species Auto ID: wren or robin", "Wheatear|Begin: 0.250"] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn an_encrypted_clip_is_opened_by_its_key_alone() {
        let (cut, about, begin) = clip();
        let (key, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let sealed = file(&cut, &about, &begin, Some(&key.to_public())).unwrap();
        assert!(!sealed.windows(4).any(|w| w == b"guan"));
        let open = |key: &age::x25519::Identity| {
            let decryptor = age::Decryptor::new(&sealed[..]).unwrap();
            let mut plain = Vec::new();
            decryptor.decrypt(std::iter::once(key as &dyn age::Identity)).ok()?.read_to_end(&mut plain).ok()?;
            Some(plain)
        };
        assert_eq!(open(&key), Some(file(&cut, &about, &begin, None).unwrap()));
        assert_eq!(open(&other), None);
    }
}
