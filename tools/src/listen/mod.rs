//! `wheatear listen`: live sound from microphones, what is heard in it, and labels for it from whoever speaks to standard input.
//!
//! In a terminal it is a screen with keys ([`terminal`]). Elsewhere, and where `--format` is given, events go to standard output, a line each;
//! commands come from standard input, a line each ([`command`]), and are answered among the events. It ends at `quit`, at the end of standard input where `--until-eof` says so, and at SIGINT or SIGTERM; what was learned is
//! committed before.

mod command;
mod lines;
mod terminal;

use std::io::{BufRead, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::config::Config;
use wheatear::service::Service;
use wheatear::{Error, ErrorKind, Result};

use crate::adapter::NewAdapterArgs;
use crate::board::BoardArgs;
use crate::embed::{BackboneArgs, ConfigArgs};
use command::Command;
use lines::Lines;

/// Hear microphones, say what is heard, and learn from what is said about it
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    board: BoardArgs,
    /// Adapter: a folder, made when it is not there
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_ADAPTER")]
    adapter: Option<PathBuf>,
    /// Microphone: id, name or a part of the name, as `wheatear devices` lists them; more than one may be heard. Without it the default
    #[arg(long, value_name = "DEVICE")]
    microphone: Vec<String>,
    /// Rate in hertz to ask for; the backbone's when left out. A device that has no such rate is heard at its own
    #[arg(long, value_parser = clap::value_parser!(u32).range(8000..=384_000))]
    rate: Option<u32>,
    /// Only this channel, the first is 1; the mean of all when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    channel: Option<u16>,
    /// Who gives the labels
    #[arg(long, value_name = "NAME", default_value = "listen")]
    by: String,
    /// How events are written, and commands read, a line each. Without it a screen with keys where standard input and output are a terminal,
    /// text where only standard output is, else events
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Serve the page and the API here, such as 127.0.0.1:7380
    #[arg(long, value_name = "ADDRESS:PORT")]
    serve: Option<SocketAddr>,
    /// Stop at the end of standard input
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    hearing: Hearing,
    #[command(flatten)]
    new: NewAdapterArgs,
}

/// When a class counts as heard, and what is asked. What is left out is as configured, or as usual.
#[derive(Debug, Default, ClapArgs)]
struct Hearing {
    /// Probability from which a class begins to be heard (classify.min_probability); usually 0.5
    #[arg(long, value_name = "P")]
    begin: Option<f32>,
    /// Probability down to which it goes on (listen.end_probability); usually 0.7 of that from which it begins
    #[arg(long, value_name = "P")]
    end: Option<f32>,
    /// Windows that are more probably of no known class say nothing (classify.max_unknown); usually 0.5
    #[arg(long, value_name = "P")]
    max_unknown: Option<f32>,
    /// What is shorter is not told, in ms (listen.min_ms); usually 0
    #[arg(long, value_name = "MS")]
    min_ms: Option<u32>,
    /// Longest pause within an event, in ms (listen.merge_ms); usually 500
    #[arg(long, value_name = "MS")]
    merge_ms: Option<u32>,
    /// Windows that no one is sure of are asked about, so many an hour (listen.ask_per_hour); usually none
    #[arg(long, value_name = "N")]
    ask_per_hour: Option<f64>,
    /// How long windows are held for labels that come late, in s (listen.recent_s): their latents, never their sound; usually 600
    #[arg(long, value_name = "S")]
    recent_s: Option<u32>,
    /// Windows in which nothing was heard and that nobody named are learned as background, so many an hour (listen.background_per_hour);
    /// usually none
    #[arg(long, value_name = "N")]
    background_per_hour: Option<f64>,
    /// Hear for so long, in s, and then rest (listen.on_s); usually all the time
    #[arg(long, value_name = "S", requires = "every_s")]
    on_s: Option<u32>,
    /// From one turn of hearing to the next, in s (listen.every_s)
    #[arg(long, value_name = "S", requires = "on_s")]
    every_s: Option<u32>,
    /// Spare the board: windows do not overlap, and other programs go first (listen.nice)
    #[arg(long)]
    nice: bool,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Text,
    /// Events of the runtime, a line of JSON each
    Events,
}

/// How often it is looked whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Longest line of standard input.
const LINE_LEN_BYTES: u64 = 4096;
/// Lines of standard input that wait.
const LINES_WAITING: usize = 64;

/// Runs `wheatear listen`.
///
/// # Errors
/// Those of the devices, the backbone and the adapter; of the labels only what a line of the output says.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.format.is_none() && !args.until_eof && terminal::is_there() {
        return terminal::run(args);
    }
    let text = || if std::io::stdout().is_terminal() { Format::Text } else { Format::Events };
    let lines = Lines::new(args.format.unwrap_or_else(text));
    // Whether there are such microphones at all is said at once; later they may come and go.
    let service = Service::start(args.configured()?, vec![Box::new(lines.clone())], true, args.new.device())?;
    if let Some(address) = service.address() {
        eprintln!("served at {address}");
    }
    let spoken = obey(args, &service, &lines);
    let counts = service.handle().counts();
    let stopped = service.stop();
    if let Ok(counts) = counts {
        lines.counts(&counts);
    }
    lines.finish();
    Ok(spoken.and(stopped)?)
}

impl Args {
    /// The configuration, with what the command line says before it.
    fn configured(&self) -> Result<Config> {
        let mut config = self.config.load()?;
        self.backbone.set(&mut config);
        self.board.set(&mut config);
        self.new.set(&mut config);
        set(&mut config.adapter.folder, &self.adapter);
        set(&mut config.serve.address, &self.serve);
        self.hearing.set(&mut config);
        let listen = &mut config.listen;
        if !self.microphone.is_empty() {
            listen.microphones.clone_from(&self.microphone);
        }
        set(&mut listen.rate_hz, &self.rate);
        set(&mut listen.channel, &self.channel);
        config.validate()?;
        Ok(config)
    }
}

impl Hearing {
    fn set(&self, config: &mut Config) {
        set(&mut config.classify.min_probability, &self.begin);
        set(&mut config.classify.max_unknown, &self.max_unknown);
        let listen = &mut config.listen;
        set(&mut listen.end_probability, &self.end);
        set(&mut listen.min_ms, &self.min_ms);
        set(&mut listen.merge_ms, &self.merge_ms);
        set(&mut listen.ask_per_hour, &self.ask_per_hour);
        set(&mut listen.recent_s, &self.recent_s);
        set(&mut listen.background_per_hour, &self.background_per_hour);
        set(&mut listen.on_s, &self.on_s);
        set(&mut listen.every_s, &self.every_s);
        set(&mut listen.nice, &self.nice.then_some(true));
    }
}

/// What is given goes before what is there.
fn set<T: Clone>(key: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        key.clone_from(given);
    }
}

/// Does what standard input says, until it is told to stop.
fn obey(args: &Args, service: &Service, lines: &Lines) -> Result<()> {
    let (stop, handle) = (stop_at(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?, service.handle());
    let spoken = listen_to_input();
    while !stop.load(Relaxed) && !lines.is_broken() {
        service.check()?;
        match spoken.recv_timeout(LOOK) {
            Ok(line) => match line.and_then(|line| line.parse::<Command>()) {
                Ok(Command::Nothing) => {}
                Ok(Command::Quit) => return Ok(()),
                Ok(command) => lines.answer(&command, command.run(handle, &args.by)),
                Err(e) => lines.error(&e),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if args.until_eof => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
        }
    }
    Ok(())
}

/// Becomes true at one of these signals. A second one ends the process: whoever asks twice does not want to wait for the disk.
fn stop_at(signals: &[i32]) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in signals {
        let failed = |e| Error::new(ErrorKind::Storage, "the system lets no signal be taken").found(signal).because(e);
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    Ok(stop)
}

/// Lines of standard input. The thread ends with the process: nothing ends a read of a terminal.
fn listen_to_input() -> Receiver<Result<String>> {
    let (tell, lines) = sync_channel(LINES_WAITING);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.by_ref().take(LINE_LEN_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if tell.send(text_of(line)).is_err() {
                return;
            }
        }
    });
    lines
}

fn text_of(line: Vec<u8>) -> Result<String> {
    let wrong = |what: &str| Error::new(ErrorKind::Input, what).expected(format!("a line of text of at most {LINE_LEN_BYTES} bytes"));
    if line.len() as u64 == LINE_LEN_BYTES && line.last() != Some(&b'\n') {
        return Err(wrong("a command is too long").cure("say less at once"));
    }
    String::from_utf8(line).map_err(|e| wrong("a command is no text").because(e).cure("write it in UTF-8"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_command_line_goes_before_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.toml");
        std::fs::write(&path, "[classify]\nmin_probability = 0.8\n[listen]\nmicrophones = [\"a\"]\nrecent_s = 5\n").unwrap();
        let config = |more: &[&str]| {
            let first = ["listen", "--config", path.to_str().unwrap()];
            Cli::try_parse_from(first.iter().chain(more)).unwrap().args.configured()
        };
        let c = config(&[]).unwrap();
        assert_eq!((c.classify.min_probability, c.listen.recent_s, c.serve.address), (Some(0.8), Some(5), None));
        let all =
            ["--begin", "0.6", "--microphone", "b", "--microphone", "c", "--serve", "127.0.0.1:0", "--ask-per-hour", "3", "--adapter", "x"];
        let c = config(&all).unwrap();
        assert_eq!((c.classify.min_probability, c.listen.recent_s, c.listen.ask_per_hour), (Some(0.6), Some(5), Some(3.0)));
        assert_eq!((c.listen.microphones, c.adapter.folder), (vec!["b".to_owned(), "c".to_owned()], Some(PathBuf::from("x"))));
        assert_eq!(config(&["--ask-per-hour", "nan"]).unwrap_err().kind(), ErrorKind::Config);
    }
}
