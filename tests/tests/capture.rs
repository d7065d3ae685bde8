//! A microphone through the whole command, with live sound from a private PulseAudio: what is played arrives, whole and at
//! the rate asked for, and recording outlives the sound server.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "cli/command.rs"]
mod command;

use std::f64::consts::TAU;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use command::{Ran, wheatear};
use realfft::RealFftPlanner;
use serde_json::Value;
use wheatear_tests::sound_server::{RATE_HZ, SoundServer};

/// Length of the chirp in seconds.
const CHIRP_S: f64 = 1.5;
/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);

/// A sweep from 300 to 2000 Hz: like itself at no other place.
fn chirp(rate_hz: u32) -> Vec<f32> {
    let n = (CHIRP_S * f64::from(rate_hz)) as usize;
    let at = |t: f64| (TAU * (300.0 * t + 1700.0 * t * t / (2.0 * CHIRP_S))).sin() * 0.5;
    (0..n).map(|i| at(i as f64 / f64::from(rate_hz)) as f32).collect()
}

/// Where `wanted` is in `heard`, and how alike they are there: 1 for the same but for loudness.
fn find(wanted: &[f32], heard: &[f32]) -> (usize, f64) {
    assert!(heard.len() >= wanted.len(), "{} samples are too few", heard.len());
    let n = (heard.len() + wanted.len()).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
    let spectrum = |x: &[f32]| {
        let mut padded = x.to_vec();
        padded.resize(n, 0.0);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).unwrap();
        spectrum
    };
    let mut product: Vec<_> = spectrum(heard).iter().zip(spectrum(wanted)).map(|(a, b)| a * b.conj()).collect();
    let mut lags = inverse.make_output_vec();
    inverse.process(&mut product, &mut lags).unwrap();
    let best = |a: &(usize, &f32), b: &(usize, &f32)| a.1.abs().total_cmp(&b.1.abs());
    let (at, _) = lags[..=heard.len() - wanted.len()].iter().enumerate().max_by(best).unwrap();
    let there = &heard[at..at + wanted.len()];
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    (at, dot(wanted, there) / (dot(wanted, wanted) * dot(there, there)).sqrt().max(1e-9))
}

fn write_wav(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec { channels: 1, sample_rate: RATE_HZ, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|x| wav.write_sample((x * 32768.0) as i16).unwrap());
    wav.finalize().unwrap();
}

fn read_wav(path: &Path) -> (u32, Vec<f32>) {
    let mut wav = hound::WavReader::open(path).unwrap();
    (wav.spec().sample_rate, wav.samples::<f32>().map(Result::unwrap).collect())
}

/// A sound server, and a folder with the chirp.
struct Room {
    folder: tempfile::TempDir,
    server: SoundServer,
    chirp: PathBuf,
}

impl Room {
    fn new() -> Room {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let server = SoundServer::start(&home).unwrap_or_else(|e| panic!("{e}"));
        let path = folder.path().join("chirp.wav");
        write_wav(&path, &chirp(RATE_HZ));
        Room { folder, server, chirp: path }
    }

    fn play(&self) {
        let status = self.server.play(&self.chirp).unwrap().wait().unwrap();
        assert!(status.success(), "paplay: {status}");
    }

    /// Starts `wheatear record` into `out`.
    fn record(&self, out: &Path, arguments: &[&str]) -> Recording {
        let mut record = wheatear();
        record.arg("record").arg("--out").arg(out).arg("--json").args(arguments).envs(self.server.environment());
        let mut child = record.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Recording { child, lines, said: Vec::new() }
    }
}

/// A running `wheatear record`.
struct Recording {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Recording {
    /// Waits until it says `word` on standard error.
    #[track_caller]
    fn wait_for(&mut self, word: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                let _ = self.child.kill();
                panic!("it did not say {word:?}, but {:#?}", self.said);
            };
            let found = line.contains(word);
            self.said.push(line);
            if found {
                return;
            }
        }
    }

    /// What it says at its end.
    fn facts(self) -> Value {
        let ran = Ran::from(self.child.wait_with_output().unwrap()).ok();
        serde_json::from_str(&ran.out).unwrap()
    }
}

fn events<'a>(facts: &'a Value, kind: &str) -> Vec<&'a Value> {
    facts["events"].as_array().unwrap().iter().filter(|e| e["event"] == kind).collect()
}

#[test]
fn what_is_played_arrives_whole_at_every_rate() {
    let room = Room::new();
    for rate_hz in [48_000u32, 16_000] {
        let out = room.folder.path().join(format!("{rate_hz}.wav"));
        let mut recording = room.record(&out, &["--seconds", "4", "--rate", &rate_hz.to_string()]);
        recording.wait_for("hears");
        room.play();
        let facts = recording.facts();
        let (rate, heard) = read_wav(&out);
        assert_eq!((rate, heard.len()), (rate_hz, 4 * rate_hz as usize));
        let (at, alike) = find(&chirp(rate_hz), &heard);
        eprintln!("{rate_hz} Hz: alike {alike:.4} at {:.3} s; {facts}", at as f64 / f64::from(rate_hz));
        assert!(alike > 0.98, "{rate_hz} Hz: {alike} at {at}: {facts:#}");
        assert_eq!((&facts["lost_frames"], &facts["silence_frames"], &facts["reopened"]), (&0.into(), &0.into(), &0.into()), "{facts:#}");
        assert!(facts["captured_frames"].as_u64().unwrap() >= 4 * u64::from(rate_hz), "{facts:#}");
        assert_eq!(events(&facts, "opened").len(), 1, "{facts:#}");
    }
}

#[test]
fn recording_outlives_the_sound_server() {
    let mut room = Room::new();
    let out = room.folder.path().join("a.wav");
    let mut recording = room.record(&out, &["--seconds", "15"]);
    recording.wait_for("hears");
    room.play();
    room.server.kill();
    recording.wait_for("lost");
    room.server.restart().unwrap();
    recording.wait_for("hears");
    room.play();
    let facts = recording.facts();
    let (lost, opened) = (events(&facts, "lost"), events(&facts, "opened"));
    assert!(!lost.is_empty() && opened.len() == 2 && opened[1]["stream"].as_u64() > opened[0]["stream"].as_u64(), "{facts:#}");
    assert_eq!(facts["reopened"], 1, "{facts:#}");
    let (rate_hz, heard) = read_wav(&out);
    assert_eq!(heard.len(), 15 * rate_hz as usize, "time in the file goes on: {facts:#}");
    let back = (opened[1]["at_s"].as_f64().unwrap() * f64::from(rate_hz)) as usize;
    // What came behind the first opening's event, and behind the second's.
    for part in [&heard[..back], &heard[back - rate_hz as usize..]] {
        let (at, alike) = find(&chirp(rate_hz), part);
        eprintln!("alike {alike:.4} at {at} of {}; {facts}", part.len());
        assert!(alike > 0.98, "{alike} at {at}: {facts:#}");
    }
    assert!(facts["silence_frames"].as_u64().unwrap() > 0, "the while without the server stands as silence: {facts:#}");
}

#[test]
fn devices_lists_the_microphone_and_a_wrong_name_is_answered_with_the_list() {
    let room = Room::new();
    let devices = Ran::of(wheatear().args(["devices", "--json"]).envs(room.server.environment())).ok();
    let list: Value = serde_json::from_str(&devices.out).unwrap();
    let default = list.as_array().unwrap().iter().find(|d| d["is_default"] == true).unwrap_or_else(|| panic!("{list:#}"));
    let formats = default["formats"].as_array().unwrap();
    assert!(formats.iter().any(|f| f["samples"] == "f32" && f["channels"] == 1), "{list:#}");
    let out = room.folder.path().join("none.wav");
    let mut record = wheatear();
    record.args(["record", "--seconds", "1", "--microphone", "no such wren", "--out"]).arg(&out).envs(room.server.environment());
    Ran::of(&mut record).fails(4, &["no such wren", default["id"].as_str().unwrap(), "wheatear devices"]);
    assert!(!out.exists());
}

#[test]
fn doctor_finds_the_microphone_well_and_misses_one_that_is_not_there() {
    let room = Room::new();
    let doctor = |wanted: &str| {
        let config = room.folder.path().join("doctor.toml");
        std::fs::write(&config, format!("[listen]\nmicrophones = [{wanted:?}]\n")).unwrap();
        let ran = Ran::of(wheatear().args(["doctor", "--json", "--config"]).arg(&config).envs(room.server.environment()));
        let all: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{ran:?}: {e}"));
        let found = all.as_array().unwrap().iter().find(|f| f["what"] == "microphones").unwrap_or_else(|| panic!("{all:#}")).clone();
        (found["state"].as_str().unwrap().to_owned(), found["text"].as_str().unwrap().to_owned())
    };
    let (state, text) = doctor("default");
    assert_eq!(state, "well", "{text}");
    let (state, text) = doctor("no such wren");
    assert!(state == "error" && text.contains("no such wren"), "{state}: {text}");
}

#[test]
fn without_a_sound_server_it_is_said_at_once_what_to_do() {
    let mut room = Room::new();
    room.server.kill();
    let out = room.folder.path().join("none.wav");
    let mut record = wheatear();
    record.args(["record", "--seconds", "1", "--out"]).arg(&out).envs(room.server.environment());
    Ran::of(&mut record).fails(4, &["gives no sound", "alsa:default", "the sound server"]);
    Ran::of(wheatear().arg("devices").envs(room.server.environment())).fails(4, &["no microphone gives sound"]);
    assert!(!out.exists());
}
