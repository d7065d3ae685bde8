//! Tests of the SoundFont reader on a synthetic bank of two instruments and four samples.

use super::*;
use std::io::Cursor;

fn chunk(id: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
    out.resize(out.len() + body.len() % 2, 0);
    out
}

fn name(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.resize(20, 0);
    out
}

fn header(text: &str, start: u32, end: u32, kind: u16) -> Vec<u8> {
    let mut out = name(text);
    for v in [start, end, start, end, 32_000] {
        out.extend(v.to_le_bytes());
    }
    out.extend([60, 0, 0, 0]);
    out.extend(kind.to_le_bytes());
    out
}

fn record(text: &str, bag: u16) -> Vec<u8> {
    [name(text), bag.to_le_bytes().to_vec()].concat()
}

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Alto: zones with samples 0 (left), 1 (right), and 0 again; Strings: 2 (mono, by name left), 3 (mono, by name right).
fn bank(last_end: u32, sample_of_strings: u16) -> Vec<u8> {
    let smpl = words(&(0..40).collect::<Vec<u16>>());
    let shdr = [
        header("Alto D4(L)", 0, 10, 4),
        header("Alto D4(R)", 10, 20, 2),
        header("Strings G2L", 20, 30, 1),
        header("Strings G2R", 30, last_end, 1),
        header("EOS", 0, 0, 0),
    ]
    .concat();
    let inst = [record("Alto Sax", 0), record("Strings", 3), record("EOI", 5)].concat();
    let ibag = words(&[0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
    let igen = words(&[43, 0, SAMPLE_ID, 0, SAMPLE_ID, 1, SAMPLE_ID, 0, SAMPLE_ID, sample_of_strings, SAMPLE_ID, 3]);
    let pdta = [b"pdta".to_vec(), chunk(b"inst", &inst), chunk(b"ibag", &ibag), chunk(b"igen", &igen), chunk(b"shdr", &shdr)].concat();
    let sdta = [b"sdta".to_vec(), chunk(b"smpl", &smpl)].concat();
    chunk(b"RIFF", &[b"sfbk".to_vec(), chunk(b"LIST", &sdta), chunk(b"LIST", &pdta)].concat())
}

fn error_of(bytes: Vec<u8>) -> String {
    format!("{:#}", SoundFont::open(Cursor::new(bytes)).err().expect("the bank must be refused"))
}

#[test]
fn one_channel_of_each_recording_is_taken_in_zone_order() {
    let mut font = SoundFont::open(Cursor::new(bank(40, 2))).unwrap();
    let alto = font.instrument("Alto Sax").unwrap().clone();
    assert_eq!(alto.samples, [0, 1]);
    assert_eq!(font.notes(&alto), [0]);
    let strings = font.instrument("Strings").unwrap().clone();
    assert_eq!(font.notes(&strings), [2]);
    assert_eq!((font.sample(0).note(), font.sample(2).note(), font.sample(0).rate_hz), ("Alto D4", "Strings G2", 32_000));
    assert_eq!(font.points(2).unwrap(), (20..30).collect::<Vec<i16>>());
}

#[test]
fn channel_marks_are_cut_only_where_they_are_marks() {
    let note = |name: &str| Sample { name: name.into(), rate_hz: 1, channel: Channel::Mono, start: 0, end: 0 }.note().to_string();
    assert_eq!(note("Strings G6 L"), "Strings G6");
    assert_eq!(note("tromboneBb3"), "tromboneBb3");
    assert_eq!(note("BELL"), "BELL");
}

#[test]
fn a_sample_outside_the_data_is_refused() {
    assert!(error_of(bank(41, 2)).contains("points 30..41 do not lie in 0..40"), "{}", error_of(bank(41, 2)));
    assert!(error_of(bank(29, 2)).contains("points 30..29"));
}

#[test]
fn an_index_past_the_sample_table_is_refused() {
    assert_eq!(error_of(bank(40, 4)), "instrument Strings names sample 4 of 4");
}

#[test]
fn every_truncation_and_every_damaged_byte_gives_an_error_or_a_bank_but_no_panic() {
    let good = bank(40, 2);
    for len in 0..good.len() {
        assert!(SoundFont::open(Cursor::new(&good[..len])).is_err(), "{len} bytes of {}", good.len());
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        if let Ok(mut font) = SoundFont::open(Cursor::new(bad)) {
            for i in 0..font.samples.len() {
                if font.samples[i].channel != Channel::Other {
                    let _ = font.points(i).map(|p| assert!(p.len() <= 40));
                }
            }
        }
    }
}

#[test]
fn another_kind_of_file_is_named() {
    assert!(error_of(b"RIFF\x04\0\0\0WAVE".to_vec()).contains("not a SoundFont 2 file"));
}
