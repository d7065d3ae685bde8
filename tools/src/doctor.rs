//! `wheatear doctor`: whether what a device needs is there and well: configuration, backbone, adapter, microphones, disk, clock, memory,
//! temperature, and the daemon if one should run. Reads only, also while a daemon runs.

mod daemon;

use std::path::Path;
use std::time::Instant;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::audio::capture::devices::{self, Input};
use wheatear::backbone::Backbone;
use wheatear::board::Board;
use wheatear::config::{Config, Override};
use wheatear::latent::SpaceId;
use wheatear::service;
use wheatear::service::adapter::{adapter_folder, size_mib};
use wheatear::service::backbone::BackboneChoice;
use wheatear::store::{Access, Adapter, Recovery};
use wheatear::units::Moment;
use wheatear::{Error, ErrorKind, Result, clock};

use crate::board::BoardArgs;
use crate::embed::{BackboneArgs, ConfigArgs};
use crate::output::{counted, print_facts};

/// Look whether what a device needs is there and well; the exit code is that of the first thing that is not
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    board: BoardArgs,
    /// Adapter
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_ADAPTER")]
    adapter: Option<std::path::PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Windows whose time is measured.
const WINDOWS: usize = 5;
/// Less free space than this is told.
const FREE_MIN_MIB: f64 = 64.0;
/// Hotter boards slow down.
const HOT_C: f64 = 80.0;
/// A clock before this was never set: 2024 began.
const CLOCK_MIN_MS: i64 = 1_704_067_200_000;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Well,
    Warning,
    Error,
}

/// What was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    text: String,
    /// Exit code of what is wrong.
    #[serde(skip)]
    code: Option<ErrorKind>,
}

impl Finding {
    fn well(what: &'static str, text: impl Into<String>) -> Finding {
        Finding { what, state: State::Well, text: text.into(), code: None }
    }

    fn warning(what: &'static str, text: impl Into<String>) -> Finding {
        Finding { state: State::Warning, ..Finding::well(what, text) }
    }

    fn of(what: &'static str, found: Result<Finding>) -> Finding {
        found.unwrap_or_else(|e| Finding { what, state: State::Error, text: e.to_string(), code: Some(e.kind()) })
    }
}

/// Runs `wheatear doctor`.
///
/// # Errors
/// That of the first thing that is wrong.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = configured(args);
    let mut all = vec![Finding::of("configuration", config.as_ref().map_err(again).and_then(usable))];
    let config = config.unwrap_or_default();
    all.push(Finding::of("backbone", backbone(&config)));
    all.push(Finding::of("adapter", adapter(&config)));
    all.push(Finding::of("microphones", microphones(&config)));
    all.extend([disk(&config), time(clock::now()), memory(&config), heat()]);
    all.extend(daemon::findings(&config.serve));
    print_facts(args.json, &all, |all| all.iter().map(line).collect())?;
    match all.iter().find_map(|f| f.code) {
        None => Ok(()),
        Some(kind) => {
            let wrong = all.iter().filter(|f| f.state == State::Error).count() as u64;
            Err(Error::new(kind, "not all that a device needs is well").found(counted(wrong, "error")).cure("see above").into())
        }
    }
}

/// The same error once more, for another reader.
fn again(e: &Error) -> Error {
    Error::new(e.kind(), e.to_string())
}

fn line(f: &Finding) -> String {
    let mark = match f.state {
        State::Well => "well   ",
        State::Warning => "warning",
        State::Error => "ERROR  ",
    };
    format!("{mark}  {:<13}  {}\n", f.what, f.text)
}

/// As the daemon would read it: the environment before the file, the command line before both.
fn configured(args: &Args) -> Result<Config> {
    let mut config = Config::load_with(args.config.path(), &Override::from_environment())?;
    args.backbone.set(&mut config);
    args.board.set(&mut config);
    config.adapter.folder = args.adapter.clone().or(config.adapter.folder.take());
    config.validate()?;
    Ok(config)
}

/// Whether a daemon would start with it; without a backbone or an adapter, of which others say more, whether it holds together.
fn usable(config: &Config) -> Result<Finding> {
    let adapter = config.adapter.folder.as_deref();
    if adapter.is_some() && BackboneChoice::new(config, adapter).is_ok() {
        service::check(config)?;
        service::check_places(config)?
    } else {
        config.validate()?
    }
    Ok(Finding::well("configuration", "can be used"))
}

fn backbone(config: &Config) -> Result<Finding> {
    let (manifest, mut session) = BackboneChoice::new(config, config.adapter.folder.as_deref())?.session()?;
    let (input, mut embedding) = (vec![0.0; session.input_len()], vec![0.0; session.dim()]);
    let mut took = Vec::new();
    for _ in 0..WINDOWS {
        let begun = Instant::now();
        session.embed(&input, &mut embedding)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let (median, hop_ms) = (took[WINDOWS / 2], f64::from(manifest.audio.hop_samples) / f64::from(manifest.audio.rate_hz) * 1e3);
    let text = format!(
        "{}: {median:.1} ms a window of {hop_ms:.0} ms, on {}; {}",
        manifest.name,
        session.providers().join(", "),
        session.library().display()
    );
    Ok(if median > hop_ms {
        Finding::warning("backbone", format!("{text}: slower than the sound"))
    } else {
        Finding::well("backbone", text)
    })
}

fn adapter(config: &Config) -> Result<Finding> {
    let folder = adapter_folder(config)?;
    if !folder.exists() {
        return Ok(Finding::well("adapter", format!("{}: not there yet; it is made by the first start", folder.display())));
    }
    let adapter = Adapter::open(&folder, Access::Read)?;
    if let Ok(backbone) = BackboneChoice::new(config, Some(&folder)) {
        let manifest = backbone.manifest()?;
        adapter.check_space(SpaceId::of(&manifest, Some(adapter.header().creation.bits))?, &manifest.name)?;
    }
    let classes = adapter.tally().keys().flatten().filter(|c| !c.is_retired()).count();
    let text = format!("{}: generation {}, classes: {classes}", folder.display(), adapter.generation());
    let board = config.board.as_deref().map(Board::load).transpose()?;
    if adapter.damaged_chunks() > 0 {
        let damaged = counted(adapter.damaged_chunks(), "chunk");
        return Ok(Finding::warning("adapter", format!("{text}; {damaged} damaged: wheatear verify, wheatear repair")));
    }
    if adapter.recovery() != Recovery::Clean {
        return Ok(Finding::warning("adapter", format!("{text}; {}", adapter.recovery())));
    }
    if let Some(board) = board.filter(|b| size_mib(adapter.header()) > f64::from(b.adapter_mib)) {
        let size = size_mib(adapter.header());
        return Ok(Finding::warning("adapter", format!("{text}; it takes {size:.1} MiB, the board gives it {}", board.adapter_mib)));
    }
    Ok(Finding::well("adapter", text))
}

fn microphones(config: &Config) -> Result<Finding> {
    sounding(&config.listen.wanted().into_iter().map(devices::find_and_ask).collect::<Result<Vec<_>>>()?)
}

fn sounding(found: &[Input]) -> Result<Finding> {
    if let Some(input) = found.iter().find(|input| input.formats.is_empty() && !input.is_busy) {
        let refused = format!("{}: {}", input.name, input.refused.as_deref().unwrap_or("no format"));
        return Err(Error::new(ErrorKind::Missing, "a microphone gives no sound")
            .found(refused)
            .cure("see wheatear devices; start the sound server, or look who else has it open"));
    }
    if let Some(input) = found.iter().find(|input| input.is_busy) {
        return Ok(Finding::warning(
            "microphones",
            format!("{}: another program hears it, and shares it with none; the daemon?", input.name),
        ));
    }
    Ok(Finding::well("microphones", found.iter().map(|i| i.name.clone()).collect::<Vec<_>>().join(", ")))
}

/// Free space where the adapter, the events and the clips are.
fn disk(config: &Config) -> Finding {
    let events = &config.events;
    let paths = [&config.adapter.folder, &events.jsonl, &events.csv, &events.raven, &events.audacity, &events.sqlite, &config.clips.folder];
    let mut texts = Vec::new();
    let mut state = State::Well;
    for path in paths.into_iter().flatten() {
        // The nearest folder that is there.
        let Some(folder) = path.ancestors().find(|p| p.exists()).map(|p| if p == Path::new("") { Path::new(".") } else { p }) else {
            continue;
        };
        let folder = if folder.is_dir() { folder } else { folder.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new(".")) };
        let text = match rustix::fs::statvfs(folder) {
            Ok(stat) => {
                let free = stat.f_bavail as f64 * stat.f_frsize as f64 / f64::from(1 << 20);
                if free < FREE_MIN_MIB {
                    state = State::Warning;
                }
                format!("{free:.0} MiB free in {}", folder.display())
            }
            Err(e) => {
                state = State::Warning;
                format!("{}: {e}", folder.display())
            }
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Finding { state, ..Finding::well("disk", if texts.is_empty() { "nothing is written".to_owned() } else { texts.join("; ") }) }
}

fn time(now: Moment) -> Finding {
    let is_followed = now.uncertainty_ms != u32::MAX;
    match now.wall_ms.filter(|ms| *ms >= CLOCK_MIN_MS) {
        Some(_) if !is_followed => Finding::warning(
            "clock",
            "nothing sets it: how wrong the times of events are is not known; start a time service (chrony, systemd-timesyncd, gpsd)",
        ),
        Some(ms) => match jiff::Timestamp::from_millisecond(ms) {
            Ok(now) => Finding::well("clock", format!("{now:.0}")),
            Err(e) => Finding::warning("clock", e.to_string()),
        },
        None => {
            Finding::warning("clock", "it was never set: events have times since boot alone; set it, or fit a clock that keeps time (RTC)")
        }
    }
}

/// Memory that is free, and what learning may take.
fn memory(config: &Config) -> Finding {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = info.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let learning = config.board.as_deref().and_then(|b| Board::load(b).ok()).map_or_else(Default::default, |b| b.learning);
    let wanted = u64::from(learning.memory_mib);
    match free.map(|kib| kib >> 10) {
        None => Finding::warning("memory", "the system does not tell"),
        Some(free) if free < wanted => Finding::warning(
            "memory",
            format!("{free} MiB free, learning may take {wanted}: lower memory_mib in the board's file, or end other programs"),
        ),
        Some(free) => Finding::well("memory", format!("{free} MiB free, learning may take {wanted}")),
    }
}

/// Temperature, and whether the processor is slowed down.
fn heat() -> Finding {
    let read = |path: &str| std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<f64>().ok());
    let policy = "/sys/devices/system/cpu/cpufreq/policy0";
    let (allowed, most) = (read(&format!("{policy}/scaling_max_freq")), read(&format!("{policy}/cpuinfo_max_freq")));
    let slowed = allowed.zip(most).filter(|(allowed, most)| allowed < most);
    let temperature = clock::temperature_c();
    let text = temperature.map_or("the board tells no temperature".to_owned(), |c| format!("{c:.0} °C"));
    match (temperature, slowed) {
        (_, Some((allowed, most))) => {
            Finding::warning("heat", format!("{text}; the processor may run at {:.0} of {:.0} MHz", allowed / 1e3, most / 1e3))
        }
        (Some(c), _) if c >= HOT_C => Finding::warning("heat", format!("{text}: it will slow down; give it air or shade")),
        _ => Finding::well("heat", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microphone_in_use_is_no_error_and_one_without_sound_is() {
        let input = |name: &str, refused: Option<&str>, is_busy| Input {
            id: format!("alsa:hw:{name}"),
            name: name.into(),
            is_default: false,
            formats: Vec::new(),
            refused: refused.map(str::to_owned),
            is_busy,
        };
        let busy = sounding(&[input("yeti", Some("busy"), true)]).unwrap();
        assert!(busy.state == State::Warning && busy.text.contains("yeti"), "{busy:?}");
        let error = sounding(&[input("yeti", Some("busy"), true), input("moth", Some("gone"), false)]).unwrap_err();
        assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("moth: gone"), "{error}");
    }

    #[test]
    fn a_clock_that_nothing_sets_is_warned_of() {
        let at = |wall_ms, uncertainty_ms| time(Moment { wall_ms, uncertainty_ms, ..Moment::UNKNOWN });
        let now_ms = Some(1_795_751_374_120);
        assert_eq!(at(now_ms, 12).state, State::Well);
        for (wall_ms, uncertainty_ms, says) in
            [(now_ms, u32::MAX, "nothing sets it"), (Some(0), 12, "never set"), (None, u32::MAX, "never set")]
        {
            let found = at(wall_ms, uncertainty_ms);
            assert!(found.state == State::Warning && found.text.contains(says), "{found:?}");
        }
    }

    #[test]
    fn the_nearest_folder_says_how_much_room_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        assert_eq!(disk(&config).text, "nothing is written");
        config.adapter.folder = Some(dir.path().join("not/there/yet"));
        let found = disk(&config);
        assert!(found.text.contains("MiB free in") && found.text.ends_with(&dir.path().display().to_string()), "{found:?}");
    }
}
