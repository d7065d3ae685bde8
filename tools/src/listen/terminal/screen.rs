//! The terminal while it is a screen: raw keys, the alternate screen, and what was there before on every way out, a panic of the thread that draws
//! included.
//!
//! Where standard error is the same terminal, what is written to it meanwhile (the log, and libraries that write by themselves) would tear
//! the screen: it is gathered line by line, given to the screen, and the last lines are written again when the screen has gone. Where
//! standard error goes elsewhere, it stays there.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Read, Stdout, Write, stdout};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, execute};
use ratatui::{Frame, Terminal};
use wheatear::{Error, ErrorKind, Result};

/// Longest line of standard error.
const LINE_LEN_BYTES: u64 = 4096;
/// Lines that are written again.
const LINES: usize = 50;

/// Whether the terminal is a screen now.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// Standard error, while it is gathered.
static STANDARD_ERROR: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// The terminal as a screen, until it is dropped.
pub struct Screen {
    /// None once it is left.
    terminal: Option<Terminal<CrosstermBackend<Stdout>>>,
    gathering: Option<JoinHandle<VecDeque<String>>>,
}

impl Screen {
    /// Makes the terminal a screen; lines of standard error go to `tell`.
    ///
    /// # Errors
    /// `Storage` when the terminal refuses.
    pub fn new(tell: impl Fn(String) + Send + 'static) -> Result<Screen> {
        let drawing = std::thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == drawing {
                leave();
            }
            before(panic);
        }));
        let refused = |e| {
            leave();
            Error::new(ErrorKind::Storage, "the terminal cannot be made a screen").because(e).cure("use --format text")
        };
        let gathering = gather(tell).map_err(refused)?;
        IS_ON.store(true, SeqCst);
        let on = || {
            enable_raw_mode()?;
            execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
            Terminal::new(CrosstermBackend::new(stdout()))
        };
        Ok(Screen { terminal: Some(on().map_err(refused)?), gathering })
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// Where the terminal cannot be written, as one that has gone away.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> std::io::Result<()> {
        self.terminal.as_mut().map_or(Ok(()), |terminal| terminal.draw(draw).map(drop))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // While standard error is gathered: it tells there that it failed, and of a terminal that has gone away nothing can be told.
        drop(self.terminal.take());
        leave();
        if let Some(Ok(lines)) = self.gathering.take().map(JoinHandle::join) {
            // Nobody may be there to read them.
            lines.iter().for_each(|line| drop(writeln!(std::io::stderr(), "{line}")));
        }
    }
}

/// Gives the terminal back, once. What it refuses now nobody can mend.
fn leave() {
    if IS_ON.swap(false, SeqCst) {
        _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        _ = disable_raw_mode();
    }
    if let Some(before) = STANDARD_ERROR.lock().unwrap_or_else(PoisonError::into_inner).take() {
        _ = rustix::stdio::dup2_stderr(before);
    }
}

/// Gathers standard error where it is the terminal. The thread ends when standard error is put back, and gives the last lines.
fn gather(tell: impl Fn(String) + Send + 'static) -> std::io::Result<Option<JoinHandle<VecDeque<String>>>> {
    if !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let (reader, writer) = std::io::pipe()?;
    let before = rustix::io::dup(rustix::stdio::stderr())?;
    let gathering = std::thread::Builder::new().name("notices".into()).spawn(move || take_lines(reader, &tell))?;
    *STANDARD_ERROR.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    rustix::stdio::dup2_stderr(&writer)?;
    Ok(Some(gathering))
}

fn take_lines(reader: PipeReader, tell: &dyn Fn(String)) -> VecDeque<String> {
    let (mut reader, mut last) = (BufReader::new(reader), VecDeque::new());
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_LEN_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(line.clone());
        tell(line);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn lines_are_told_as_they_come_and_the_last_are_kept() {
        let ((reader, mut writer), (tell, told)) = (std::io::pipe().unwrap(), channel());
        let gathering = std::thread::spawn(move || take_lines(reader, &|line| tell.send(line).unwrap()));
        writer.write_all(b"[WARN] first\n\nhalf a ").unwrap();
        assert_eq!(told.recv().unwrap(), "[WARN] first");
        writer.write_all(b"line \xff\n").unwrap();
        assert_eq!(told.recv().unwrap(), "half a line \u{fffd}");
        (0..LINES).for_each(|n| writeln!(writer, "{n}").unwrap());
        writer.write_all(&[b'x'; 3 * LINE_LEN_BYTES as usize / 2]).unwrap();
        drop(writer);
        let last = gathering.join().unwrap();
        assert_eq!((last.len(), last[0].as_str(), last[LINES - 1].len()), (LINES, "2", LINE_LEN_BYTES as usize / 2));
    }
}
