//! `wheatear listen` in a terminal, as a person sees it: a class that was labelled by keys is named on the screen, a label is taken back, and
//! the terminal is as before at the end. The terminal is a pseudo-terminal; what it would show is read from an emulation.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "cli/command.rs"]
mod command;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use command::{Ran, root, wheatear};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use wheatear_tests::live;
use wheatear_tests::sound_server::SoundServer;

/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);

fn assets(path: &str) -> PathBuf {
    root().join("target/assets").join(path)
}

/// A terminal of 80 columns and 24 rows, and the command in it.
struct Terminal {
    keys: File,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    child: Child,
}

impl Terminal {
    fn new(listen: &Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let here = openpt(flags).unwrap();
        grantpt(&here).and_then(|()| unlockpt(&here)).unwrap();
        tcsetwinsize(&here, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let there = || ioctl_tiocgptpeer(&here, flags).unwrap();
        // A session of its own, whose terminal this is.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(listen.get_program()).args(listen.get_args());
        for (name, value) in listen.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        let child = command.stdin(there()).stdout(there()).stderr(there()).spawn().unwrap();
        let keys = File::from(here);
        let (mut reader, (tell, bytes)) = (keys.try_clone().unwrap(), channel());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Where the other end has closed it, reading fails.
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 || tell.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { keys, bytes, screen: vt100::Parser::new(24, 80, 0), child }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows this; tells the row.
    #[track_caller]
    fn wait_for(&mut self, what: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            let rows: Vec<String> = self.screen.screen().rows(0, 80).collect();
            if let Some(row) = rows.iter().find(|r| r.contains(what)) {
                return row.clone();
            }
            let Ok(bytes) = self.bytes.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                panic!("the screen does not show {what:?}:\n{}", rows.join("\n"));
            };
            self.screen.process(&bytes);
        }
    }

    /// Lets the command end.
    fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + LONG;
        loop {
            while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(20)) {
                self.screen.process(&bytes);
            }
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < until, "it does not end"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Plays a note, and waits until all of it must have been heard.
fn play(server: &SoundServer, note: &Path) {
    assert!(server.play(note).unwrap().wait().unwrap().success());
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn a_class_that_was_labelled_by_keys_is_named_on_the_screen_and_undo_and_quit_leave_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (home, adapter) = (folder.path().join("home"), folder.path().join("birds"));
    std::fs::create_dir(&home).unwrap();
    let server = SoundServer::start(&home).unwrap_or_else(|e| panic!("{e}"));
    let mut listen = wheatear();
    listen.arg("listen").arg("--adapter").arg(&adapter).arg("--backbone").arg(assets("models/aisfx"));
    listen.args(["--begin", "0.3", "--max-unknown", "1"]).envs(server.environment());
    let notes = |class| live::notes(&assets("sounds/instruments"), class).unwrap();
    let (sax, piano) = (notes("Tenor Sax"), notes("Yamaha Grand Piano"));

    let mut terminal = Terminal::new(&listen);
    terminal.wait_for("no head serves yet");
    terminal.wait_for(" windows ");
    for (note, class) in [(&sax[0], "tenor sax"), (&piano[0], "piano")] {
        play(&server, note);
        terminal.press("L");
        terminal.wait_for("the 10 s until");
        terminal.press(&format!("{class}\r"));
        // Windows that a label has taken are of no other.
        let row = terminal.wait_for(&format!("learned {class}: "));
        assert!(row.contains("durable"), "{row}");
        terminal.wait_for("knows it after");
    }
    terminal.wait_for("birds");
    play(&server, &sax[0]);
    let row = terminal.wait_for("tenor sax  ");
    assert!(row.contains('%'), "{row}");
    terminal.press("u");
    terminal.wait_for("windows back, durable");
    assert!(terminal.screen.screen().alternate_screen());
    terminal.press("Q");
    assert_eq!(terminal.ends().code(), Some(0));
    assert!(!terminal.screen.screen().alternate_screen() && !terminal.screen.screen().hide_cursor());
    terminal.wait_for("a window takes");
    let held = |class| Ran::from(wheatear().args(["inspect", "--rows", "--class", class]).arg(&adapter).output().unwrap());
    held("tenor sax").ok();
    held("piano").fails(3, &["piano"]);
}

#[test]
fn a_terminal_that_goes_away_ends_it_and_what_was_learned_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (home, adapter) = (folder.path().join("home"), folder.path().join("birds"));
    std::fs::create_dir(&home).unwrap();
    let server = SoundServer::start(&home).unwrap_or_else(|e| panic!("{e}"));
    let mut listen = wheatear();
    listen.arg("listen").arg("--adapter").arg(&adapter).arg("--backbone").arg(assets("models/aisfx")).envs(server.environment());
    let note = &live::notes(&assets("sounds/instruments"), "Tenor Sax").unwrap()[0];
    let mut terminal = Terminal::new(&listen);
    terminal.wait_for(" windows ");
    play(&server, note);
    terminal.press("Ltenor sax\r");
    terminal.wait_for("learned tenor sax: ");
    rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), rustix::process::Signal::HUP).unwrap();
    assert_eq!(terminal.ends().code(), Some(0));
    Ran::from(wheatear().args(["inspect", "--rows", "--class", "tenor sax"]).arg(&adapter).output().unwrap()).ok();
}
