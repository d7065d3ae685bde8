//! Sounds that are damaged, odd or not sounds at all, and labels of every script: used where possible, explained where not.

use std::path::{Path, PathBuf};

use crate::command::{Ran, run, wheatear};
use crate::material::{aisfx, classes, inspect, notes, put, spec, taught, write_chord, write_samples};

fn classify(sound: &Path) -> Ran {
    run!("classify", sound, "--backbone", aisfx(), "--adapter", taught().adapter(), "--format", "csv")
}

fn teach(folder: &Path, adapter: &Path) -> Ran {
    run!("teach", folder, "--backbone", aisfx(), "--adapter", adapter, "--json")
}

#[test]
fn any_width_rate_and_number_of_channels_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    for (name, spec) in [
        ("8-bit", spec(1, 44_100, 8)),
        ("16-bit stereo", spec(2, 48_000, 16)),
        ("24-bit", spec(1, 22_050, 24)),
        ("float", spec(1, 8_000, 32)),
        ("96 kHz", spec(1, 96_000, 16)),
        ("6 channels", spec(6, 44_100, 16)),
    ] {
        let sound = folder.path().join(format!("{name}.wav"));
        write_chord(&sound, spec, 440.0, 2.0);
        let csv = classify(&sound).ok().out;
        let last = csv.lines().last().unwrap().split(',').collect::<Vec<_>>();
        let end_s: f64 = last[2].parse().unwrap();
        assert!((end_s - 2.0).abs() < 0.002, "{name}: it ends at {end_s} s");
        assert!(csv.lines().skip(1).all(|l| !l.split(',').nth(3).unwrap().is_empty()), "{name}: {csv}");
    }
}

#[test]
fn a_sound_that_cannot_be_used_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("empty.wav"), b"").unwrap();
    std::fs::write(path("text.wav"), b"Dear diary, today I heard a wren.\n").unwrap();
    write_chord(&path("no data.wav"), spec(1, 44_100, 16), 440.0, 0.0);
    let whole = std::fs::read(&notes("Violin")[0]).unwrap();
    std::fs::write(path("header only.wav"), &whole[..30]).unwrap();
    for name in ["empty.wav", "text.wav", "no data.wav", "header only.wav"] {
        classify(&path(name)).fails(3, &[name, "1 of 1 sounds could not be used"]);
    }
    classify(&path("gone.wav")).fails(3, &["gone.wav", "check the path"]);
    for (name, value) in [("nan.wav", f32::NAN), ("inf.wav", f32::INFINITY)] {
        let mut samples = vec![0.1f32; 44_100];
        samples[1000] = value;
        write_samples(&path(name), 44_100, &samples);
        classify(&path(name)).fails(3, &[name, "not a number"]);
    }
}

#[test]
fn a_truncated_sound_is_heard_up_to_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("cut.wav");
    let whole = std::fs::read(&notes("Violin")[7]).unwrap();
    std::fs::write(&sound, &whole[..whole.len() * 2 / 3]).unwrap();
    let heard = run!("classify", sound, "--backbone", aisfx(), "--adapter", taught().adapter(), "--json").ok().json();
    assert_eq!(heard[0]["ranked"][0][0].as_str(), Some("Violin"));
    let seconds = heard[0]["seconds"].as_f64().unwrap();
    let expected = (whole.len() * 2 / 3 - 44) as f64 / 2.0 / 44_100.0;
    assert!((seconds - expected).abs() < 0.05, "{seconds} s of {expected} s");
}

#[test]
fn one_bad_sound_does_not_keep_the_others_from_being_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put(&sounds.join("Violin"), &notes("Violin")[..2]);
    put(&sounds.join("Trombone"), &notes("Trombone")[..2]);
    std::fs::write(sounds.join("Violin/A diary.wav"), b"not a sound").unwrap();
    let ran = teach(&sounds, &adapter).fails(3, &["1 of 5 sounds could not be used", "A diary.wav", "run the same command again"]);
    assert_eq!((ran.json()["sounds"].as_u64(), ran.json()["unusable"].as_array().unwrap().len()), (Some(4), 1));
    assert_eq!(classes(&adapter).len(), 2);
    std::fs::remove_file(sounds.join("Violin/A diary.wav")).unwrap();
    let again = teach(&sounds, &adapter).ok().json();
    assert_eq!((again["sounds"].as_u64(), again["already_known"].as_u64()), (Some(0), Some(4)));
}

#[test]
fn of_many_bad_sounds_five_are_named_and_the_good_ones_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put(&sounds.join("Violin"), &notes("Violin")[..1]);
    // Its first bytes cannot be read, not even by root.
    std::os::unix::fs::symlink("/proc/self/mem", sounds.join("Violin/0 unreadable.wav")).unwrap();
    (1..7).for_each(|i| std::fs::write(sounds.join(format!("Violin/{i} diary.wav")), format!("not a sound {i}")).unwrap());
    let ran = teach(&sounds, &adapter).fails(3, &["7 of 8 sounds could not be used", "others are learned", "and 2 more"]);
    assert!((0..5).all(|i| ran.err.contains(&format!("Violin/{i} "))) && !ran.err.contains("6 diary.wav"), "{}", ran.err);
    assert_eq!((ran.json()["sounds"].as_u64(), ran.json()["unusable"].as_array().unwrap().len()), (Some(1), 7));
    assert_eq!(inspect(&adapter)["recordings"].as_u64(), Some(1), "nothing of the others is known as taught");
    let again = teach(&sounds, &adapter).fails(3, &["7 of 7 sounds", "nothing new was learned"]).json();
    assert_eq!((again["sounds"].as_u64(), again["already_known"].as_u64()), (Some(0), Some(1)));
    let classified = run!("classify", &sounds, "--adapter", taught().adapter()).fails(3, &["7 of 8", "others are classified", "2 more"]);
    assert!(classified.out.contains("Violin"), "{classified:?}");
}

#[test]
fn silence_is_called_silence_and_teaches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    write_samples(&sounds.join("hush/silent.wav"), 44_100, &vec![0.0; 88_200]);
    put(&sounds.join("Violin"), &notes("Violin")[..1]);
    let heard = run!("classify", sounds.join("hush"), "--backbone", aisfx(), "--adapter", taught().adapter()).ok().out;
    assert!(heard.contains("(silence)"), "{heard}");
    let taught = teach(&sounds, &adapter).ok();
    assert!(taught.err.contains("silent.wav: silent"), "{}", taught.err);
    assert!(taught.json()["silent_windows"].as_u64().unwrap() >= 3);
    assert!(classes(&adapter).iter().all(|(name, rows)| name == "Violin" && *rows > 0));
    teach(&sounds, &adapter).ok();
}

#[test]
fn labels_may_hold_spaces_slashes_and_any_script() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    let names = ["AC/DC hum", "carrion crow", "Ωδή, \"σοφή\"", "みそさざい", "Крапивник"];
    let mut lines = "file,class\n".to_owned();
    let mut asked: Vec<PathBuf> = Vec::new();
    for (i, (name, instrument)) in names.iter().zip(["Violin", "Trombone", "Church Organ", "Vibraphone", "Rock Organ"]).enumerate() {
        put(&sounds.join(i.to_string()), &notes(instrument)[..2]);
        for note in &notes(instrument)[..2] {
            lines += &format!("{i}/{},\"{}\"\n", note.file_name().unwrap().to_str().unwrap(), name.replace('"', "\"\""));
        }
        asked.push(notes(instrument)[0].clone());
    }
    std::fs::write(sounds.join("labels.csv"), lines).unwrap();
    teach(&sounds, &adapter).ok();
    let mut known: Vec<String> = classes(&adapter).into_iter().map(|c| c.0).collect();
    known.sort();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(known, expected);
    let ran = Ran::of(wheatear().arg("classify").args(&asked).arg("--backbone").arg(aisfx()).arg("--adapter").arg(&adapter).arg("--json"));
    for (heard, name) in ran.ok().json().as_array().unwrap().iter().zip(names) {
        assert_eq!(heard["ranked"][0][0].as_str(), Some(name));
    }
    let table = run!("inspect", adapter).ok().out;
    assert!(names.iter().all(|n| table.contains(n)), "{table}");
}

#[test]
fn a_label_that_cannot_be_one_is_refused_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &notes("Violin")[..1]);
    let note = notes("Violin")[0].file_name().unwrap().to_str().unwrap().to_owned();
    let adapter = folder.path().join("adapter");
    for (lines, code, words) in [
        (format!("file,class\n{note},\n"), 3, ["labels.csv line 2", "class"]),
        (format!("file,class\n{note},{}\n", "x".repeat(5000)), 3, ["labels.csv line 2", "class"]),
        ("file,class\ngone.wav,wren\n".to_owned(), 4, ["labels.csv line 2", "gone.wav"]),
        ("sound,label\nx,y\n".to_owned(), 3, ["labels.csv line 1", "file,class"]),
        ("file,class\n".to_owned(), 3, ["labels.csv", "no sounds"]),
    ] {
        std::fs::write(folder.path().join("labels.csv"), lines).unwrap();
        teach(folder.path(), &adapter).fails(code, &words);
        assert!(!adapter.exists(), "nothing is made when nothing can be learned");
    }
    std::fs::remove_file(folder.path().join("labels.csv")).unwrap();
    teach(folder.path(), &adapter).fails(3, &["one sub-folder a class"]);
    teach(&folder.path().join("nowhere"), &adapter).fails(4, &["nowhere", "check the path"]);
}

#[test]
fn one_example_and_one_class_are_enough_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    // The shortest note of the trombone is a single window.
    let short = notes("Trombone").into_iter().min_by_key(|n| n.metadata().unwrap().len()).unwrap();
    put(&sounds.join("Trombone"), std::slice::from_ref(&short));
    let text = run!("teach", sounds, "--backbone", aisfx(), "--adapter", adapter).ok().out;
    assert!(text.contains("one class only") && text.contains("teach a second one"), "{text}");
    assert_eq!(inspect(&adapter)["rows"].as_u64(), Some(1));
    let only = |head: &str| run!("classify", notes("Violin")[0], "--backbone", aisfx(), "--adapter", adapter, "--head", head);
    for head in ["ncm", "slda", "ridge"] {
        assert!(only(head).ok().out.contains("Trombone 100 %"), "{head}");
    }
    // A second class with one example each.
    put(&sounds.join("Violin"), &notes("Violin")[..1]);
    run!("teach", sounds, "--backbone", aisfx(), "--adapter", adapter).ok();
    for head in ["ncm", "slda", "ridge"] {
        assert!(only(head).ok().out.contains("Violin "), "{head}");
    }
}

#[test]
fn a_name_that_is_no_unicode_is_heard_as_a_file_and_refused_as_a_class() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let class = folder.path().join("sounds").join(odd);
    put(&class, &notes("Violin")[..1]);
    let adapter = folder.path().join("adapter");
    teach(&folder.path().join("sounds"), &adapter).fails(3, &["caf", "rename it"]);
    assert!(!adapter.exists());
    let sound = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.wav"));
    std::fs::copy(&notes("Violin")[7], &sound).unwrap();
    assert!(run!("classify", sound, "--backbone", aisfx(), "--adapter", taught().adapter()).ok().out.contains("Violin "));
}
