//! `wheatear record`: records a microphone into a WAV file, and says what was lost. The microphone may go and come back
//! meanwhile; the file keeps true time.

use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::audio::capture::level::{LevelChange, LevelLimits, LevelWatch};
use wheatear::audio::capture::{CaptureCounts, CaptureEvent, Channel, Microphone, MicrophoneSettings, Running, devices};
use wheatear::{Error, ErrorKind};

use crate::output::print_facts;
use crate::tape::{Samples, Tape};

/// Record a microphone into a WAV file, and say what was lost
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How long
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// File to write; one that is there is left alone
    #[arg(long, value_name = "F.wav")]
    out: PathBuf,
    /// Id, name or a part of the name, as `wheatear devices` lists them; the default one when left out
    #[arg(long, value_name = "DEVICE")]
    microphone: Option<String>,
    /// Rate in hertz; the device's own when left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(8000..=384_000))]
    rate: Option<u32>,
    /// Only this channel, the first is 1; the mean of all when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    channel: Option<u16>,
    /// How samples are written
    #[arg(long, value_enum, default_value_t)]
    samples: Samples,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

/// How long the first sound may take before the recording is given up.
const FIRST_EVENT: Duration = Duration::from_secs(20);
/// How often new sound is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long the end of the recording may be waited for beyond its length: sound takes its time to arrive.
const LATENESS: Duration = Duration::from_secs(2);
/// Most events in the result.
const MOST_EVENTS: usize = 1000;

/// Something that happened, in seconds from the beginning of the recording.
#[derive(Serialize)]
struct At<T> {
    at_s: f64,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Facts<'a> {
    out: &'a PathBuf,
    rate_hz: u32,
    samples: Samples,
    seconds: f64,
    frames: u64,
    /// Frames of silence in place of sound that was lost.
    silence_frames: u64,
    #[serde(flatten)]
    counts: CaptureCounts,
    events: Vec<At<CaptureEvent>>,
    levels: Vec<At<LevelChange>>,
    events_left_out: u64,
}

/// Runs `wheatear record`.
///
/// # Errors
/// `Missing` or `Input` when the device is not there or gives nothing; those of writing the file.
pub fn run(args: &Args) -> Result<()> {
    // Whether there is such a device at all is said at once; later it may come and go.
    let input = devices::find(args.microphone.as_deref())?;
    let channel = args.channel.map_or(Channel::Mean, |n| Channel::One(n - 1));
    let settings = MicrophoneSettings { device: Some(input.id), rate_hz: args.rate, channel, ..MicrophoneSettings::default() };
    let mut running = Microphone::start(settings)?;
    let opened = first_event(&running)?;
    let CaptureEvent::Opened { rate_hz, .. } = opened else { return Err(no_sound(&opened).into()) };
    let begun = Instant::now();
    let mut log = Log { begun, events: Vec::new(), levels: Vec::new(), left_out: 0 };
    log.event(opened);
    let mut tape = Tape::create(&args.out, args.samples, rate_hz, args.seconds)?;
    record(&mut running, &mut tape, &mut log, begun + Duration::from_secs(args.seconds.into()))?;
    let counts = running.microphone.counts();
    running.microphone.stop();
    let (frames, silence_frames) = tape.finish()?;
    let facts = Facts {
        out: &args.out,
        rate_hz,
        samples: args.samples,
        seconds: frames as f64 / f64::from(rate_hz),
        frames,
        silence_frames,
        counts,
        events: log.events,
        levels: log.levels,
        events_left_out: log.left_out,
    };
    print_facts(args.json, &facts, summary)
}

fn first_event(running: &Running) -> Result<CaptureEvent, Error> {
    running.events.recv_timeout(FIRST_EVENT).map_err(|e| {
        let found = match e {
            RecvTimeoutError::Timeout => format!("nothing within {} s", FIRST_EVENT.as_secs()),
            RecvTimeoutError::Disconnected => "capture has ended".to_owned(),
        };
        Error::new(ErrorKind::Missing, "the microphone cannot be opened").found(found).cure("restart the sound server, or plug it in again")
    })
}

fn no_sound(first: &CaptureEvent) -> Error {
    let error = Error::new(ErrorKind::Missing, "the microphone gives no sound");
    match first {
        CaptureEvent::Lost { why, .. } => error.found(why),
        other => error.found(format!("{other:?}")),
    }
}

/// Moves sound to the tape until it is full, or long enough after the time at which it should be.
fn record(running: &mut Running, tape: &mut Tape, log: &mut Log, until: Instant) -> Result<()> {
    let mut block = running.reader.buffer();
    let mut level: Option<LevelWatch> = None;
    let mut flushed = Instant::now();
    loop {
        while let Some(header) = running.reader.next(&mut block) {
            let level = level.get_or_insert_with(|| LevelWatch::new(LevelLimits::default(), header.rate_hz));
            level.set_rate(header.rate_hz);
            level.push(header.first_frame, &block, &mut |_, change| log.level(change));
            tape.take(&header, &block)?;
        }
        running.events.try_iter().for_each(|event| log.event(event));
        if tape.is_full() || running.reader.has_ended() || Instant::now() > until + LATENESS {
            return Ok(());
        }
        if flushed.elapsed() > Duration::from_secs(1) {
            tape.flush()?;
            flushed = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}

/// What happened; each is also said at once.
struct Log {
    begun: Instant,
    events: Vec<At<CaptureEvent>>,
    levels: Vec<At<LevelChange>>,
    left_out: u64,
}

impl Log {
    fn event(&mut self, what: CaptureEvent) {
        let at_s = self.begun.elapsed().as_secs_f64();
        eprintln!("{at_s:8.1} s  {what}");
        if self.events.len() < MOST_EVENTS { self.events.push(At { at_s, what }) } else { self.left_out += 1 }
    }

    fn level(&mut self, what: LevelChange) {
        let at_s = self.begun.elapsed().as_secs_f64();
        eprintln!("{at_s:8.1} s  {what}");
        if self.levels.len() < MOST_EVENTS { self.levels.push(At { at_s, what }) } else { self.left_out += 1 }
    }
}

fn summary(f: &Facts<'_>) -> String {
    let c = &f.counts;
    format!(
        "{}: {:.2} s at {} Hz; {} frames captured, {} lost, {} xruns, opened again {} times, {} frames of silence in place of what is missing\n",
        f.out.display(),
        f.seconds,
        f.rate_hz,
        c.captured_frames,
        c.lost_frames,
        c.xruns,
        c.reopened,
        f.silence_frames
    )
}
