//! Rows of several labels, and rows that say what a sound is not: what they change at the next window.

use std::path::{Path, PathBuf};

use hound::WavReader;
use serde_json::{Value, json};

use crate::command::run;
use crate::material::{Copy, aisfx, held, inspect, notes, write_samples};

/// Samples of a note, its rate, and their root mean square.
fn samples(path: &Path) -> (Vec<f32>, u32, f32) {
    let mut wav = WavReader::open(path).unwrap();
    let rate_hz = wav.spec().sample_rate;
    let all: Vec<f32> = wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32768.0).collect();
    let square = all.iter().map(|s| s * s).sum::<f32>() / all.len() as f32;
    (all, rate_hz, square.sqrt())
}

/// Two notes at equal power, as long as the shorter; the second takes its nearest samples at the rate of the first.
fn write_mixture(path: &Path, of: [&PathBuf; 2]) {
    let [(a, rate_hz, a_level), (b, b_rate_hz, b_level)] = of.map(|note| samples(note));
    let b = (0..).map_while(|i| b.get((i as f64 * f64::from(b_rate_hz) / f64::from(rate_hz)).round() as usize));
    let mixed: Vec<f32> = a.iter().zip(b).map(|(a, b)| 0.1 * (a / a_level + b / b_level)).collect();
    write_samples(path, rate_hz, &mixed);
}

/// Teaches `sounds` with these labels, as a `labels.csv` says them.
fn teach(copy: &Copy, place: &str, sounds: &[(PathBuf, &str)]) -> Value {
    let folder = copy.beside(place);
    std::fs::create_dir_all(&folder).unwrap();
    let mut list = "file,class\n".to_owned();
    for (i, (sound, labels)) in sounds.iter().enumerate() {
        std::fs::copy(sound, folder.join(format!("{i}.wav"))).unwrap();
        list += &format!("{i}.wav,{labels}\n");
    }
    std::fs::write(folder.join("labels.csv"), list).unwrap();
    run!("teach", folder, "--backbone", aisfx(), "--adapter", copy.adapter(), "--json").ok().json()
}

fn windows(copy: &Copy, sound: &Path) -> Vec<Value> {
    let heard = run!("classify", sound, "--adapter", copy.adapter(), "--json").ok().json();
    let windows = heard[0]["windows"].as_array().unwrap().iter().filter(|w| !w["class"].is_null());
    windows.cloned().collect()
}

#[test]
fn not_a_church_organ_changes_the_next_window_and_leaves_church_organs_alone() {
    let copy = Copy::of_taught();
    let (strange, organ) = (notes("Percussive Organ"), notes("Church Organ")[7].clone());
    let next = &strange[2];
    let (before, organ_before) = (windows(&copy, next), windows(&copy, &organ));
    assert!(before.iter().any(|w| w["class"] == "Church Organ" && w["probability"].as_f64() > Some(0.5)), "{before:?}");
    assert!(before.iter().all(|w| w.get("present").is_none()), "nothing is told of what is present");
    let done = teach(&copy, "rejected", &[(strange[0].clone(), "!Church Organ"), (strange[1].clone(), "!Church Organ")]);
    assert!(done["rows_by_class"]["!Church Organ"].as_u64() > Some(0), "{done}");
    let after = windows(&copy, next);
    let said = |all: &[Value]| all.iter().filter(|w| w["class"] == "Church Organ" && w["probability"].as_f64() > Some(0.5)).count();
    assert_eq!((said(&before), said(&after)), (before.len(), 0), "{after:?}");
    assert!(after.iter().all(|w| w["unknown"].as_f64() > Some(0.5)), "what it lost is of no known class: {after:?}");
    assert_eq!(said(&windows(&copy, &organ)), said(&organ_before), "true windows stay");
    run!("undo", copy.adapter(), "--labels", "2").ok();
    assert_eq!(windows(&copy, next), before);
}

#[test]
fn two_instruments_at_once_are_both_said_and_their_stretches_overlap() {
    let copy = Copy::of_taught();
    let (organ, violin) = (notes("Church Organ"), notes("Violin"));
    let mixture = |i: usize, j: usize| {
        let path = copy.beside(&format!("mixture {i} {j}.wav"));
        write_mixture(&path, [&organ[i], &violin[j]]);
        path
    };
    let sounds: Vec<(PathBuf, &str)> = (0..4).map(|i| (mixture(i, i), "Church Organ;Violin")).collect();
    teach(&copy, "both", &sounds);
    assert!(inspect(&copy.adapter())["mixed_rows"].as_u64() > Some(0));
    assert!(held(&copy.adapter()).iter().any(|r| r["is"] == json!(["Church Organ", "Violin"])));
    let new = mixture(6, 7);
    let all = windows(&copy, &new);
    let p = |w: &Value, class: &str| {
        let of = w["present"].as_array().unwrap().iter().find(|p| p["class"] == class);
        of.map_or(0.0, |p| p["probability"].as_f64().unwrap())
    };
    let both = all.iter().filter(|w| p(w, "Church Organ") > 0.5 && p(w, "Violin") > 0.5 && p(w, "Trombone") < 0.5).count();
    assert!(both > 0 && 2 * both >= all.len(), "{both} of {}: {all:?}", all.len());
    for w in &all {
        let first = &w["present"][0];
        assert_eq!((&w["class"], &w["probability"]), (&first["class"], &first["probability"]), "what it is and what is present agree");
    }
    let table = run!("classify", new, "--adapter", copy.adapter()).ok().out;
    assert!(table.contains("Church Organ ") && table.contains("Violin ") && !table.contains("no known class"), "{table}");
    let raven = run!("classify", new, "--adapter", copy.adapter(), "--format", "raven").ok().out;
    assert!(raven.contains("\tChurch Organ\t") && raven.contains("\tViolin\t"), "{raven}");
}

#[test]
fn background_is_taught_by_its_folder_and_labels_that_cannot_be_meant_are_refused() {
    let copy = Copy::of_taught();
    let sounds = copy.beside("sounds");
    crate::material::put(&sounds.join("_background"), &notes("Rhodes EP 1")[..1]);
    run!("teach", sounds, "--backbone", aisfx(), "--adapter", copy.adapter()).ok();
    assert!(inspect(&copy.adapter())["background_rows"].as_u64() > Some(0));
    std::fs::write(sounds.join("labels.csv"), "file,class\n_background/x.wav,Violin;!Violin\n").unwrap();
    std::fs::copy(&notes("Viola")[0], sounds.join("_background/x.wav")).unwrap();
    run!("teach", sounds, "--backbone", aisfx(), "--adapter", copy.adapter()).fails(3, &["line 2", "both be a class and not be it"]);
}
