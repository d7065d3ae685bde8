//! `wheatear listen` in a terminal, as a person sees it: a class that was labelled by keys is named on the screen, a label is taken back, and
//! the terminal is as before at the end. The terminal is a pseudo-terminal; what it would show is read from an emulation.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "cli/command.rs"]
mod command;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use command::{Ran, root, wheatear};
use rustix::fs::{OFlags, fcntl_setfl};
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
    /// Our end of it; none when the terminal has gone away.
    here: Option<File>,
    screen: vt100::Parser,
    child: Child,
}

impl Terminal {
    fn new(listen: &Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
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
        fcntl_setfl(&here, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        Terminal { here: Some(File::from(here)), screen: vt100::Parser::new(24, 80, 0), child }
    }

    fn press(&mut self, keys: &str) {
        self.here.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Takes what the command has written, or waits a little where that is nothing.
    fn look(&mut self) {
        let mut buffer = [0; 4096];
        match self.here.as_mut().map(|here| here.read(&mut buffer)) {
            Some(Ok(n)) if n > 0 => self.screen.process(&buffer[..n]),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
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
            assert!(Instant::now() < until, "the screen does not show {what:?}:\n{}", rows.join("\n"));
            self.look();
        }
    }

    /// Lets the command end.
    fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + LONG;
        loop {
            self.look();
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
    terminal.here = None;
    assert_eq!(terminal.ends().code(), Some(0));
    Ran::from(wheatear().args(["inspect", "--rows", "--class", "tenor sax"]).arg(&adapter).output().unwrap()).ok();
}
