//! What the command prints: every format of `classify`, help, completions, and what a closed or full output does.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::command::{Ran, run, shell, wheatear};
use crate::material::{aisfx, notes, taught};

fn classify(sounds: &[PathBuf], extra: &[&str]) -> Ran {
    let mut command = wheatear();
    command.arg("classify").args(sounds).arg("--backbone").arg(aisfx()).arg("--adapter").arg(taught().adapter()).args(extra);
    Ran::of(&mut command)
}

#[test]
fn the_table_names_each_file_and_its_class_in_plain_text() {
    let sounds = notes("Violin")[7..9].to_vec();
    let table = classify(&sounds, &[]).ok().out;
    assert_eq!(table.lines().count(), 2);
    for (line, sound) in table.lines().zip(&sounds) {
        assert!(line.contains(sound.file_name().unwrap().to_str().unwrap()) && line.contains("Violin ") && line.contains(" %"), "{line}");
    }
    assert!(!table.contains('\u{1b}'), "no colours where it is no terminal");
}

#[test]
fn what_runs_the_backbone_keeps_to_itself() {
    let home = tempfile::tempdir().unwrap();
    let mut command = wheatear();
    command.arg("classify").arg(&notes("Violin")[7]).arg("--backbone").arg(aisfx()).arg("--adapter").arg(taught().adapter());
    Ran::of(command.env("HOME", home.path())).ok();
    // ONNX Runtime would keep here what it has to tell its maker, and a number of the device.
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn csv_and_json_give_every_window_and_agree() {
    let sounds = notes("Church Organ")[7..9].to_vec();
    let csv = classify(&sounds, &["--format", "csv"]).ok().out;
    let json = classify(&sounds, &["--format", "json"]).ok().json();
    assert_eq!(json, classify(&sounds, &["--json"]).ok().json());
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("file,begin_s,end_s,class,probability,unknown"));
    let windows = json.as_array().unwrap().iter().flat_map(|file| file["windows"].as_array().unwrap().iter().map(move |w| (file, w)));
    let mut n = 0;
    for (file, window) in windows {
        let line = lines.next().unwrap();
        let numbers = format!("{:.3},{:.3}", window["begin_s"].as_f64().unwrap(), window["end_s"].as_f64().unwrap());
        for part in [file["file"].as_str().unwrap(), &numbers, window["class"].as_str().unwrap()] {
            assert!(line.contains(part), "no {part} in {line}");
        }
        assert!(window["end_s"].as_f64() <= file["seconds"].as_f64().map(|s| s + 1e-3));
        n += 1;
    }
    assert!(n >= 2 && lines.next().is_none());
}

#[test]
fn raven_and_audacity_get_the_files_they_read() {
    let one = notes("Trombone")[7..8].to_vec();
    let raven = classify(&one, &["--format", "raven"]).ok().out;
    let mut lines = raven.lines();
    assert_eq!(lines.next().unwrap().split('\t').count(), 9);
    let first: Vec<&str> = lines.next().unwrap().split('\t').collect();
    assert_eq!((first[0], first[1], first[7]), ("1", "Waveform 1", "Trombone"));
    assert_eq!(first[5], one[0].file_name().unwrap().to_str().unwrap());
    assert!(first[3].parse::<f64>().unwrap() < first[4].parse::<f64>().unwrap());

    let audacity = classify(&one, &["--format", "audacity"]).ok().out;
    let first: Vec<&str> = audacity.lines().next().unwrap().split('\t').collect();
    assert!(first.len() == 3 && first[0].parse::<f64>().is_ok() && first[1].parse::<f64>().is_ok() && first[2].starts_with("Trombone "));

    let two = notes("Trombone")[7..9].to_vec();
    let raven = classify(&two, &["--format", "raven"]).ok().out;
    let rows: Vec<Vec<&str>> = raven.lines().skip(1).map(|l| l.split('\t').collect()).collect();
    let begin = |row: &[&str], column: usize| row[column].parse::<f64>().unwrap();
    let second = rows.iter().find(|r| r[5] == two[1].file_name().unwrap().to_str().unwrap()).expect("both files are there");
    assert!(begin(second, 3) > begin(second, 6), "its times follow those of the first file: {second:?}");
    assert!(rows.windows(2).all(|r| begin(&r[0], 3) <= begin(&r[1], 3)));
}

#[test]
fn out_writes_a_file_a_sound_and_keeps_namesakes_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut sounds = notes("Violin")[7..9].to_vec();
    let namesake = folder.path().join("other").join(sounds[0].file_name().unwrap());
    std::fs::create_dir_all(namesake.parent().unwrap()).unwrap();
    std::fs::copy(&sounds[0], &namesake).unwrap();
    sounds.push(namesake);
    let stems: Vec<&str> = sounds[..2].iter().map(|s| s.file_stem().unwrap().to_str().unwrap()).collect();
    for (format, suffix) in
        [("table", ".txt"), ("csv", ".csv"), ("json", ".json"), ("raven", ".selections.txt"), ("audacity", ".labels.txt")]
    {
        let out = folder.path().join(format);
        let ran = classify(&sounds, &["--format", format, "--out", out.to_str().unwrap()]).ok();
        assert_eq!(ran.out, "", "{format}");
        for name in [stems[0].to_owned(), stems[1].to_owned(), format!("{}-2", stems[0])] {
            let text = std::fs::read_to_string(out.join(format!("{name}{suffix}"))).unwrap();
            assert!(text.contains("Violin"), "{format}: {text}");
        }
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3, "{format}");
    }
}

#[test]
fn a_reader_that_stops_early_ends_every_command_quietly() {
    let adapter = taught().adapter();
    let args = [notes("Violin")[7].clone().into_os_string(), aisfx().into_os_string(), adapter.into_os_string()];
    let args: Vec<&OsStr> = args.iter().map(|a| a.as_os_str()).collect();
    for command in [
        "classify \"$1\" --backbone \"$2\" --adapter \"$3\" --format csv",
        "inspect \"$3\"",
        "inspect --json \"$3\"",
        "completions bash",
        "--help",
        "teach --help",
        "export --list \"$2/aisfx-mel-f16.onnx\"",
    ] {
        // The output is closed before the command writes its first byte.
        let script = format!("{{ sleep 0.2; \"$0\" {command}; echo \"code $?\" >&2; }} | true");
        let ran = Ran::of(&mut shell(&script, &args));
        assert!(ran.err.contains("code 0") && !ran.err.contains("error"), "{command}: {ran:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let adapter = taught().adapter();
    let script = "\"$0\" inspect \"$1\" > /dev/full";
    Ran::of(&mut shell(script, &[adapter.as_os_str()])).fails(7, &["standard output", "No space left"]);
}

#[test]
fn a_terminal_gets_bold_headings_unless_it_asks_for_none() {
    let adapter = taught().adapter();
    // script(1) gives the command a terminal of its own.
    let on_terminal = |before: &str| {
        let script = format!("{before} script -qec \"'$0' inspect '$1'\" /dev/null");
        Ran::of(&mut shell(&script, &[adapter.as_os_str()])).ok().out
    };
    assert!(on_terminal("").contains("\u{1b}[1m"));
    assert!(!on_terminal("NO_COLOR=1").contains('\u{1b}'));
    assert!(!run!("inspect", adapter).ok().out.contains('\u{1b}'));
}

#[test]
fn every_subcommand_explains_itself() {
    let all: [&[&str]; 9] =
        [&[], &["export"], &["teach"], &["classify"], &["inspect"], &["lab"], &["lab", "run"], &["lab", "bits"], &["completions"]];
    for command in all {
        let ran = Ran::of(wheatear().args(command).arg("--help")).ok();
        assert!(ran.out.contains("Usage: wheatear") && ran.out.contains("--help") && ran.err.is_empty(), "{command:?}: {ran:?}");
        let options = ran.out.lines().filter(|l| l.trim_start().starts_with("--")).count();
        assert!(options > 0 || command.len() != 1 || ["lab", "completions", "inspect"].contains(&command[0]), "{command:?}");
    }
    let help = run!("--help").ok().out;
    for command in ["export", "teach", "classify", "inspect", "lab", "completions", "Exit codes: 0 done"] {
        assert!(help.contains(command), "no {command} in {help}");
    }
    assert!(run!("--version").ok().out.starts_with("wheatear "));
    assert_eq!(run!().code, Some(2));
    assert_eq!(run!("teach").code, Some(2));
    assert_eq!(run!("sing").code, Some(2));
}

#[test]
fn shells_get_completions_that_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run!("completions", shell).ok().out;
        for word in ["teach", "classify", "min-probability", "classes-per-task"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let bash = run!("completions", "bash").ok().out;
    let script = "printf %s \"$1\" | bash -n";
    Ran::of(&mut shell(script, &[OsStr::new(&bash)])).ok();
}
