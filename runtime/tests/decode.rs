//! Decoding of good, odd, damaged and hostile sound files.

use std::f64::consts::PI;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use wheatear::audio::decode::{SoundFile, read_file};
use wheatear::{Error, ErrorKind};

fn sound(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds").join(name)
}

/// The average of the two channels of sounds/make_sounds.py.
fn tone(i: usize) -> f32 {
    (0.375 * (2.0 * PI * 440.0 * i as f64 / 22050.0).sin()) as f32
}

fn wav_spec(channels: u16, rate_hz: u32, bits: u16, float: bool) -> hound::WavSpec {
    let sample_format = if float { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
    hound::WavSpec { channels, sample_rate: rate_hz, bits_per_sample: bits, sample_format }
}

fn wav<S: hound::Sample + Copy>(spec: hound::WavSpec, samples: &[S]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Everything that `bytes` decode to: samples, their rate and the damage.
fn decode(bytes: &[u8]) -> Result<(Vec<f32>, u32, Option<String>), Error> {
    let mut file = SoundFile::from_source("test", None, Box::new(Cursor::new(bytes.to_vec())))?;
    let mut samples = Vec::new();
    while let Some(block) = file.next_block()? {
        assert!(!block.is_empty());
        samples.extend_from_slice(block);
    }
    Ok((samples, file.rate_hz(), file.damage().map(str::to_string)))
}

fn in_folder(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn lossless_kinds_give_the_average_of_their_channels() {
    for name in ["tone.flac", "tone.aiff"] {
        let (samples, rate_hz, damage) = read_file(&sound(name)).unwrap();
        assert_eq!((samples.len(), rate_hz, damage), (5512, 22050, None), "{name}");
        let worst = samples.iter().enumerate().map(|(i, x)| (x - tone(i)).abs()).fold(0.0, f32::max);
        assert!(worst < 4e-5, "{name}: {worst}");
    }
}

#[test]
fn lossy_kinds_give_the_same_tone_at_the_same_time() {
    for name in ["tone.ogg", "tone.mp3"] {
        let (samples, rate_hz, damage) = read_file(&sound(name)).unwrap();
        assert_eq!((rate_hz, damage), (22050, None), "{name}");
        assert!((5512..5512 + 1153).contains(&samples.len()), "{name}: {} samples", samples.len());
        let error: f32 = (1000..4500).map(|i| (samples[i] - tone(i)).powi(2)).sum::<f32>() / 3500.0;
        assert!(error.sqrt() < 0.02, "{name}: {}", error.sqrt());
    }
}

#[test]
fn eight_bit_and_24_bit_and_float_wav_are_scaled_to_one() {
    let (samples, ..) = decode(&wav(wav_spec(1, 8000, 8, false), &[-128i8, 0, 64, 127])).unwrap();
    assert_eq!(samples, [-1.0, 0.0, 0.5, 127.0 / 128.0]);
    let (samples, ..) = decode(&wav(wav_spec(1, 8000, 24, false), &[-(1 << 23), 0, 1 << 22])).unwrap();
    assert_eq!(samples, [-1.0, 0.0, 0.5]);
    let (samples, ..) = decode(&wav(wav_spec(1, 8000, 32, true), &[1.5f32, -0.25])).unwrap();
    assert_eq!(samples, [1.5, -0.25]);
}

#[test]
fn six_channels_at_96_khz_are_averaged() {
    let frames: Vec<i16> = (0..600).map(|i| [6000, 0, 0, 3000, 0, -3000][i % 6]).collect();
    let mut file = SoundFile::from_source("six", None, Box::new(Cursor::new(wav(wav_spec(6, 96_000, 16, false), &frames)))).unwrap();
    assert_eq!((file.channels(), file.rate_hz(), file.total_samples()), (6, 96_000, Some(100)));
    let block = file.next_block().unwrap().unwrap();
    assert!(block.iter().all(|x| (x - 1000.0 / 32768.0).abs() < 1e-6), "{block:?}");
}

#[test]
fn a_sample_that_is_not_a_number_is_refused_with_its_position() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut samples = vec![0.1f32; 5000];
        samples[3210] = bad;
        let e = decode(&wav(wav_spec(1, 44_100, 32, true), &samples)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Input);
        assert!(e.to_string().contains("sample 3210"), "{e}");
    }
}

#[test]
fn an_empty_file_a_folder_and_a_missing_file_are_told_apart() {
    let (folder, path) = in_folder("empty.wav", b"");
    let e = SoundFile::open(&path).map(|_| ()).unwrap_err();
    assert!(e.kind() == ErrorKind::Input && e.to_string().contains("empty file"), "{e}");
    let e = SoundFile::open(folder.path()).map(|_| ()).unwrap_err();
    assert!(e.kind() == ErrorKind::Input && e.to_string().contains("folder"), "{e}");
    let e = SoundFile::open(&folder.path().join("none.wav")).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Missing, "{e}");
}

#[test]
fn a_file_that_is_not_sound_is_refused_and_named() {
    let (_folder, path) = in_folder("letter.wav", &b"%PDF-1.7 not a sound at all. ".repeat(400));
    let e = SoundFile::open(&path).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Input);
    assert!(e.to_string().contains("letter.wav") && e.to_string().contains("WAV"), "{e}");
}

#[test]
fn a_wav_with_no_samples_is_an_error() {
    let e = decode(&wav::<i16>(wav_spec(1, 44_100, 16, false), &[])).unwrap_err();
    assert!(e.kind() == ErrorKind::Input && e.to_string().contains("without a single sample"), "{e}");
}

#[test]
fn rates_no_sound_has_are_refused() {
    for rate_hz in [0u32, 1, 999, 768_001, u32::MAX] {
        let mut bytes = wav(wav_spec(1, 44_100, 16, false), &[1i16; 100]);
        bytes[24..28].copy_from_slice(&rate_hz.to_le_bytes());
        let e = decode(&bytes).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Input, "{rate_hz}: {e}");
    }
}

#[test]
fn a_cut_wav_gives_what_it_holds_and_says_that_it_was_cut() {
    let samples: Vec<i16> = (0..10_000).map(|i| i as i16).collect();
    let whole = wav(wav_spec(1, 44_100, 16, false), &samples);
    for kept in [44 + 2, 44 + 2 * 5000, whole.len() - 2, whole.len() - 1] {
        let (got, _, damage) = decode(&whole[..kept]).unwrap();
        assert_eq!(got.len(), (kept - 44) / 2, "{kept} bytes");
        assert!(got.iter().zip(&samples).all(|(x, s)| *x == f32::from(*s) / 32768.0));
        let damage = damage.unwrap_or_else(|| panic!("{kept} bytes: silent loss"));
        assert!(damage.contains("10000") && damage.contains(&got.len().to_string()), "{damage}");
    }
    assert_eq!(decode(&whole).unwrap().2, None);
}

#[test]
fn a_header_that_promises_more_than_the_file_holds_is_reported() {
    let mut bytes = wav(wav_spec(1, 44_100, 16, false), &[100i16; 1000]);
    bytes[40..44].copy_from_slice(&2_000_000_000u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&2_000_000_036u32.to_le_bytes());
    let (samples, _, damage) = decode(&bytes).unwrap();
    assert_eq!(samples.len(), 1000);
    assert!(damage.unwrap().contains("promises 1000000000 samples"));
}

#[test]
fn a_cut_flac_or_ogg_is_reported() {
    for name in ["tone.flac", "tone.ogg"] {
        let bytes = std::fs::read(sound(name)).unwrap();
        for kept in [bytes.len() * 3 / 4, bytes.len() - 100] {
            let (_folder, path) = in_folder(name, &bytes[..kept]);
            match read_file(&path) {
                Ok((samples, _, damage)) => assert!(damage.is_some(), "{name}, {kept} bytes: {} samples, silent loss", samples.len()),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Input, "{e}"),
            }
        }
    }
}

#[test]
fn every_truncation_ends_in_samples_with_a_report_or_an_error_and_never_in_a_panic() {
    let samples: Vec<i16> = (0..300).map(|i| i * 50).collect();
    let wav = wav(wav_spec(2, 22_050, 16, false), &samples);
    let flac = std::fs::read(sound("tone.flac")).unwrap();
    for bytes in [&wav, &flac] {
        let whole = decode(bytes).unwrap().0;
        for kept in 0..bytes.len() {
            match decode(&bytes[..kept]) {
                Ok((part, _, damage)) => {
                    assert!(part.len() <= whole.len() && part == whole[..part.len()], "{kept} bytes");
                    assert!(damage.is_some() || part.len() == whole.len(), "{kept} bytes: silent loss of {}", whole.len() - part.len());
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Input, "{kept} bytes: {e}"),
            }
        }
    }
}

#[test]
fn flipped_bytes_never_panic_and_never_give_a_sample_that_is_not_finite() {
    let samples: Vec<f32> = (0..300).map(|i| i as f32 / 300.0).collect();
    let mut files = vec![wav(wav_spec(1, 22_050, 32, true), &samples)];
    files.extend(["tone.flac", "tone.ogg", "tone.mp3", "tone.aiff"].map(|name| std::fs::read(sound(name)).unwrap()));
    let mut state = 12_345u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut decoded = 0;
    for bytes in &files {
        for round in 0..200 {
            let mut bytes = bytes.clone();
            // Half of the flips hit the header, where they hurt most.
            let reach = if round % 2 == 0 { bytes.len().min(200) } else { bytes.len() };
            for _ in 0..1 + round % 4 {
                let at = random(reach);
                bytes[at] = random(256) as u8;
            }
            if let Ok((samples, rate_hz, _)) = decode(&bytes) {
                assert!(samples.iter().all(|x| x.is_finite()) && (1000..=768_000).contains(&rate_hz));
                decoded += 1;
            }
        }
    }
    assert!(decoded > 100, "only {decoded} of 1000 decoded at all: the flips test nothing");
}
