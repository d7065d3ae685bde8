//! What `cargo xtask live` runs: `live WHEATEAR BACKBONE SOUNDS FOLDER`, the folder being a new one.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use wheatear::{Error, ErrorKind, Result};
use wheatear_tests::live::{self, KNOWN};
use wheatear_tests::sound_server::SoundServer;

/// Notes that are taught of each class, and that are then played unheard.
const TAUGHT: usize = 4;
const UNHEARD: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [wheatear, backbone, sounds, folder] = &arguments[..] else {
        eprintln!("usage: live WHEATEAR BACKBONE SOUNDS FOLDER");
        return ExitCode::from(2);
    };
    match run(wheatear, backbone, sounds, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(wheatear: &Path, backbone: &Path, sounds: &Path, folder: &Path) -> Result<()> {
    let (known, home, adapter) = (folder.join("known"), folder.join("home"), folder.join("adapter"));
    for instrument in KNOWN {
        let own = known.join(instrument);
        std::fs::create_dir_all(&own).map_err(|e| Error::io("create", &own, e))?;
        for note in live::notes(sounds, instrument)?.iter().take(8) {
            let copy = own.join(note.file_name().unwrap_or_default());
            std::fs::copy(note, &copy).map_err(|e| Error::io("copy to", &copy, e))?;
        }
    }
    std::fs::create_dir_all(&home).map_err(|e| Error::io("create", &home, e))?;
    let mut teach = Command::new(wheatear);
    teach.arg("teach").arg(&known).arg("--backbone").arg(backbone).arg("--adapter").arg(&adapter);
    let taught = teach.status().map_err(|e| Error::io("start", wheatear, e))?;
    if !taught.success() {
        return Err(Error::new(ErrorKind::Learn, "wheatear teach failed").found(taught));
    }
    let server = SoundServer::start(&home)?;
    let mut listen = Command::new(wheatear);
    listen.arg("listen").args(["--format", "events"]).arg("--adapter").arg(&adapter).arg("--backbone").arg(backbone);
    let outcome = live::run(listen, &server, sounds, TAUGHT, UNHEARD)?;
    for (class, note, heard) in &outcome.heard {
        println!("  {class} {note}: {}", if heard.is_empty() { "nothing".to_owned() } else { heard.join("; ") });
    }
    let text = |key: &str| {
        format!(
            "{:.1} ms, 99 in 100 {:.1} ms",
            outcome.counts[key][0].as_f64().unwrap_or(0.0),
            outcome.counts[key][1].as_f64().unwrap_or(0.0)
        )
    };
    let mut head_ms = outcome.head_ms.clone();
    head_ms.sort_by(f64::total_cmp);
    println!("  a window takes {}; an event leaves behind its window after {}", text("answer_ms"), text("event_ms"));
    println!(
        "  from a label to a head that knows it: median {:.0} ms, at most {:.0} ms",
        head_ms[head_ms.len() / 2],
        head_ms[head_ms.len() - 1]
    );
    println!("{outcome}");
    // By chance one of five would be right, and four wrong.
    if outcome.lost > 0 || outcome.recognised <= 2 * outcome.mistaken {
        let error =
            Error::new(ErrorKind::Learn, "what was taught is not known").expected("more than two right for each wrong, no sample lost");
        return Err(error.found(outcome));
    }
    Ok(())
}
