//! `wheatear listen` in a terminal: how loud the microphones are, what is heard, and labels by single keys. This file holds the threads and the
//! clock; what is shown is decided in [`model`] and drawn in [`draw`].
//!
//! The main thread draws, at most ten times a second and when something has changed. One thread reads keys; another speaks to the daemon, so
//! that no commit delays a key. Keys, answers and the daemon's events come through one bounded queue; events that find no room are counted.

mod draw;
mod entry;
mod look;
mod model;
mod notices;
mod screen;
mod sound;
mod told;

#[cfg(test)]
mod draw_tests;
#[cfg(test)]
mod model_tests;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ratatui::crossterm::event;
use wheatear::daemon::{Glance, Handle, Sink};
use wheatear::event::Event;
use wheatear::service::Service;
use wheatear::{Error, ErrorKind, Result};

use super::command::Command;
use super::lines::Lines;
use super::{Args, Format};
use crate::clock::now;
use look::Look;
use model::{Guesses, Input, Model};
use screen::Screen;

/// Least time from one drawing to the next.
const DRAW: Duration = Duration::from_millis(100);
/// How often counts are asked for.
const COUNT: Duration = Duration::from_secs(1);
/// What waits to be shown.
const INPUTS: usize = 1024;
/// Commands that wait.
const COMMANDS: usize = 16;
/// Guesses that are kept of a window.
const GUESSES: usize = 14;

/// Whether there is a terminal to be shown in, with keys.
pub fn is_there() -> bool {
    let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !is_dumb
}

/// Runs `wheatear listen` in the terminal.
///
/// # Errors
/// As [`super::run`]; `Storage` when the terminal refuses.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (tell, inputs) = sync_channel(INPUTS);
    let watcher = Watcher { tell: tell.clone(), lost: Arc::default() };
    let lost = watcher.lost.clone();
    let config = args.configured()?;
    let folder = config.adapter.folder.as_ref().and_then(|f| f.file_name()).map(|f| f.to_string_lossy().into_owned());
    let service = Service::start(config, vec![Box::new(watcher)], true, args.new.device())?;
    let stop = super::stop_at(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    // A terminal that goes away says so more than once, and wants everything kept.
    let failed = |e| Error::new(ErrorKind::Storage, "the system lets no signal be taken").because(e);
    signal_hook::flag::register(signal_hook::consts::SIGHUP, stop.clone()).map_err(failed)?;
    let about = service.about();
    let title = folder.into_iter().chain([about.backbone.name.clone()]).chain(service.address().map(|a| a.to_string()));
    let mut model = Model::new(title.collect(), &about.microphones, &args.by);
    let shown = show(&mut model, &service, &args.by, (tell, inputs), &lost, &stop);
    let counts = service.handle().counts();
    let stopped = service.stop();
    let lines = Lines::new(Format::Text);
    if let Ok(counts) = counts {
        lines.counts(&counts);
    }
    lines.finish();
    Ok(shown.and(stopped)?)
}

/// Shows the screen until it is left, and does what keys say.
fn show(
    model: &mut Model,
    service: &Service,
    by: &str,
    (tell, inputs): (SyncSender<Input>, Receiver<Input>),
    lost: &AtomicU64,
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    let look = Look::of(|name| std::env::var(name).ok());
    let logged = tell.clone();
    // A line that finds no room is written when the screen has gone.
    let mut screen = Screen::new(move |line| drop(logged.try_send(Input::Log(line))))?;
    let (commands, waiting) = sync_channel(COMMANDS);
    let (handle, by, keys, gone) = (service.handle().clone(), by.to_owned(), tell.clone(), stop.clone());
    // It ends with the process: nothing ends a read of a terminal, and of one that has gone away it never returns.
    std::thread::spawn(move || read_keys(&keys, &gone));
    let worker = std::thread::spawn(move || work(&handle, &by, &waiting, &tell));
    let shown = watch(model, service, &mut screen, look, &Ends { inputs: &inputs, commands: &commands, lost, stop });
    drop(screen);
    // What was said before the end is still done.
    drop((commands, inputs));
    if worker.join().is_err() {
        return shown.and(Err(Error::new(ErrorKind::Storage, "the thread that gives labels has failed").cure("see the log")));
    }
    shown
}

struct Ends<'a> {
    inputs: &'a Receiver<Input>,
    commands: &'a SyncSender<Command>,
    lost: &'a AtomicU64,
    stop: &'a AtomicBool,
}

fn watch(model: &mut Model, service: &Service, screen: &mut Screen, look: Look, ends: &Ends) -> Result<()> {
    let (mut drawn, mut counted, mut is_counting) = (None::<Instant>, None::<Instant>, false);
    let (mut is_changed, mut second, mut told_lost) = (true, 0, 0);
    while !ends.stop.load(Relaxed) {
        service.check()?;
        let wait = drawn.filter(|_| is_changed).map_or(DRAW, |at| DRAW.saturating_sub(at.elapsed()));
        let mut happened: Vec<Input> = ends.inputs.recv_timeout(wait).into_iter().collect();
        happened.extend(ends.inputs.try_iter().take(INPUTS));
        let lost = ends.lost.load(Relaxed);
        if lost > told_lost {
            happened
                .push(Input::Log(format!("[WARN] {} events found no room on the screen", lost - std::mem::replace(&mut told_lost, lost))));
        }
        let now = now();
        if now.monotonic_ns / 1_000_000_000 != std::mem::replace(&mut second, now.monotonic_ns / 1_000_000_000) {
            happened.push(Input::Tick);
        }
        for input in happened {
            is_changed = true;
            is_counting &= !matches!(input, Input::Answer(Command::Counts, _));
            match model.update(now, input) {
                Some(Command::Quit) => return Ok(()),
                Some(command) => drop(send(model, ends.commands, command)),
                None => {}
            }
        }
        if !is_counting && counted.is_none_or(|at| at.elapsed() >= COUNT) {
            (is_counting, counted) = (ends.commands.try_send(Command::Counts).is_ok(), Some(Instant::now()));
        }
        if is_changed && drawn.is_none_or(|at| at.elapsed() >= DRAW) {
            if let Err(e) = screen.draw(|frame| draw::draw(model, look, frame)) {
                // It has gone away, which is an end like others; its signal may come later.
                log::error!("the terminal cannot be written: {e}");
                return Ok(());
            }
            (is_changed, drawn) = (false, Some(Instant::now()));
        }
    }
    Ok(())
}

/// Hands a command to the thread that does it; where it has too many, that is the answer.
fn send(model: &mut Model, commands: &SyncSender<Command>, command: Command) -> Option<Command> {
    let (TrySendError::Full(command) | TrySendError::Disconnected(command)) = commands.try_send(command).err()?;
    let busy = Error::new(ErrorKind::Busy, "too many commands wait").cure("try again in a moment");
    model.update(now(), Input::Answer(command, Err(busy)))
}

/// Reads keys, until nobody wants them or the terminal refuses.
fn read_keys(tell: &SyncSender<Input>, stop: &AtomicBool) {
    loop {
        let input = match event::read() {
            Ok(event::Event::Key(key)) if key.kind != event::KeyEventKind::Release => Input::Key(key),
            Ok(event::Event::Paste(text)) => Input::Paste(text),
            Ok(_) => Input::Tick,
            Err(_) => return stop.store(true, Relaxed),
        };
        if tell.send(input).is_err() {
            return;
        }
    }
}

/// Does commands, until there are no more.
fn work(handle: &Handle, by: &str, commands: &Receiver<Command>, tell: &SyncSender<Input>) {
    for command in commands {
        let answer = command.run(handle, by);
        if let Err(SendError(Input::Answer(_, Err(e)))) = tell.send(Input::Answer(command, answer)) {
            log::error!("{e}");
        }
    }
}

/// The screen's sink. Whoever tells does not wait for it.
struct Watcher {
    tell: SyncSender<Input>,
    lost: Arc<AtomicU64>,
}

impl Sink for Watcher {
    fn take(&mut self, event: &Event) -> Result<()> {
        if let Err(TrySendError::Full(_)) = self.tell.try_send(Input::Event(Box::new(event.clone()))) {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn glance(&mut self, glance: &Glance<'_>) {
        let input = match *glance {
            Glance::Sound { source, column } => Input::Sound(source, *column),
            Glance::Window { source, is_silent, guesses, unknown, .. } => {
                let classes = guesses.iter().take(GUESSES).map(|(class, p)| (class.to_string(), *p)).collect();
                Input::Window(source, Guesses { classes, unknown, is_silent })
            }
            Glance::Adapter(facts) => {
                Input::Classes(facts.classes.iter().filter(|c| c.rows > 0 && !c.class.is_retired()).map(|c| c.class.to_string()).collect())
            }
        };
        // The next one shows more than the one that is lost.
        drop(self.tell.try_send(input));
    }

    fn wants_sound(&self) -> bool {
        true
    }
}
