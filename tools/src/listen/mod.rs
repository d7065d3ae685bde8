//! `wheatear listen`: live sound from microphones, what is heard in it, and labels for it from whoever speaks to standard input.
//!
//! Events go to standard output, a line each; commands come from standard input, a line each ([`command`]), and are answered among the
//! events. It ends at `quit`, at the end of standard input where `--until-eof` says so, and at SIGINT or SIGTERM; what was learned is
//! committed before.

mod command;
mod lines;

use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::audio::capture::{Channel, MicrophoneSettings, devices};
use wheatear::config::Config;
use wheatear::daemon::{Daemon, Settings, Source};
use wheatear::live::learning::Learning;
use wheatear::live::smooth::Rule;
use wheatear::{Error, ErrorKind, Result};

use crate::adapter::NewAdapterArgs;
use crate::board::{BoardArgs, budget_of};
use crate::embed::{BackboneArgs, ConfigArgs, adapter_folder};
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
    /// How events are written; text where standard output is a terminal, else events
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Stop at the end of standard input
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    hearing: Hearing,
    #[command(flatten)]
    new: NewAdapterArgs,
}

/// When a class counts as heard, and what is asked.
#[derive(Debug, ClapArgs)]
struct Hearing {
    /// Probability from which a class begins to be heard; without it that of the configuration (classify.min_probability), or 0.5
    #[arg(long, value_name = "P")]
    begin: Option<f32>,
    /// Probability down to which it goes on; without it 0.7 of that from which it begins
    #[arg(long, value_name = "P")]
    end: Option<f32>,
    /// Windows that are more probably of no known class say nothing; without it as configured (classify.max_unknown), or 0.5
    #[arg(long, value_name = "P")]
    max_unknown: Option<f32>,
    /// What is shorter is not told, in ms
    #[arg(long, value_name = "MS", default_value_t = Rule::default().min_ms)]
    min_ms: u32,
    /// Longest pause within an event, in ms
    #[arg(long, value_name = "MS", default_value_t = Rule::default().merge_ms)]
    merge_ms: u32,
    /// Windows that no one is sure of are asked about, so many an hour
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    ask_per_hour: f64,
    /// How long windows are held for labels that come late, in s: their latents, never their sound
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    recent_s: u32,
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
    let config = args.config.load()?;
    let board = args.board.load(&config)?;
    let folder = adapter_folder(args.adapter.as_deref(), &config)?;
    let backbone = args.backbone.choose_for(&config, Some(&folder))?;
    let settings = args.hearing.settings(&config)?;
    let wanted: Vec<Option<&str>> =
        if args.microphone.is_empty() { vec![None] } else { args.microphone.iter().map(|d| Some(d.as_str())).collect() };
    // Whether there are such devices at all is said at once; later they may come and go.
    let inputs = wanted.into_iter().map(devices::find).collect::<Result<Vec<_>>>()?;
    let manifest = backbone.manifest()?;
    let adapter = args.new.open_or_create(&config, board.as_ref(), &folder, &backbone, &manifest, 0)?;
    backbone.remember(&folder);
    let embedders = inputs.iter().map(|_| backbone.open()).collect::<Result<Vec<_>>>()?;
    let learning = Learning::new(adapter, backbone.graph(&manifest)?, budget_of(board.as_ref()))?;
    let channel = args.channel.map_or(Channel::Mean, |n| Channel::One(n - 1));
    let source = |input: devices::Input| {
        // The backbone's own rate needs no resampling here, which looks ahead.
        let rate_hz = args.rate.or(Some(manifest.audio.rate_hz));
        let settings = MicrophoneSettings { device: Some(input.id), rate_hz, channel, ..MicrophoneSettings::default() };
        Source::microphone(settings).map(|source| Source { name: input.name, ..source })
    };
    let sources = inputs.into_iter().map(source).collect::<Result<Vec<_>>>()?;
    let text = || if std::io::stdout().is_terminal() { Format::Text } else { Format::Events };
    let lines = Lines::new(args.format.unwrap_or_else(text));
    let daemon = Daemon::start(&settings, sources, embedders, learning, vec![Box::new(lines.clone())])?;
    let spoken = obey(args, &daemon, &lines);
    let counts = daemon.handle().counts();
    let stopped = daemon.stop();
    if let Ok(counts) = counts {
        lines.counts(&counts);
    }
    lines.finish();
    Ok(spoken.and(stopped)?)
}

impl Hearing {
    fn settings(&self, config: &Config) -> Result<Settings> {
        let (usual, min_ms, merge_ms) = (Rule::default(), self.min_ms, self.merge_ms);
        let begin = self.begin.or(config.classify.min_probability).unwrap_or(usual.begin);
        let end = self.end.unwrap_or(begin * usual.end / usual.begin);
        let max_unknown = self.max_unknown.or(config.classify.max_unknown).unwrap_or(usual.max_unknown);
        let rule = Rule { begin, end, max_unknown, min_ms, merge_ms, ..usual };
        rule.validate()?;
        if !(0.0..=3600.0).contains(&self.ask_per_hour) {
            return Err(Error::new(ErrorKind::Config, "nobody can be asked so often")
                .at("--ask-per-hour")
                .expected("0 to 3600")
                .found(self.ask_per_hour)
                .cure("give fewer"));
        }
        Ok(Settings { rule, ask_per_hour: self.ask_per_hour, recent_s: self.recent_s, ..Settings::default() })
    }
}

/// Does what standard input says, until it is told to stop.
fn obey(args: &Args, daemon: &Daemon, lines: &Lines) -> Result<()> {
    let (stop, handle) = (Arc::new(AtomicBool::new(false)), daemon.handle());
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let failed = |e| Error::new(ErrorKind::Storage, "the system lets no signal be taken").found(signal).because(e);
        // Whoever asks twice does not want to wait for the disk.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    let spoken = listen_to_input();
    while !stop.load(Relaxed) && !lines.is_broken() {
        daemon.check()?;
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
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_configuration_and_that_before_the_usual() {
        let hearing = |begin, end, max_unknown| Hearing { begin, end, max_unknown, min_ms: 0, merge_ms: 0, ask_per_hour: 0.0, recent_s: 1 };
        let config = Config::parse("[classify]\nmin_probability = 0.8\nmax_unknown = 0.9\n").unwrap();
        let rule = |h: Hearing, c: &Config| h.settings(c).map(|s| (s.rule.begin, s.rule.end, s.rule.max_unknown));
        assert_eq!(rule(hearing(None, None, None), &Config::default()).unwrap(), (0.5, 0.35, 0.5));
        let (begin, end, max_unknown) = rule(hearing(None, None, None), &config).unwrap();
        assert!((begin, max_unknown) == (0.8, 0.9) && (end - 0.56).abs() < 1e-6, "{end}");
        assert_eq!(rule(hearing(Some(0.6), Some(0.1), Some(0.2)), &config).unwrap(), (0.6, 0.1, 0.2));
        assert_eq!(rule(hearing(Some(0.6), Some(0.7), None), &config).unwrap_err().kind(), ErrorKind::Config);
        let often = Hearing { ask_per_hour: f64::NAN, ..hearing(None, None, None) };
        assert_eq!(often.settings(&config).map(|_| ()).unwrap_err().kind(), ErrorKind::Config);
    }
}
