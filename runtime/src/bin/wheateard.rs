//! `wheateard`: the device daemon. It hears, tells, learns and serves as its configuration says, until it is told to stop.
//!
//! SIGTERM and SIGINT end it: what was said is committed before. SIGHUP reads the configuration again. What happens is told on standard
//! error, which a service manager keeps; exit codes are those of `wheatear`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;
use wheatear::backbone::telemetry;
use wheatear::config::{Config, Override};
use wheatear::daemon::Sink;
use wheatear::event::{Event, Level, What};
use wheatear::service::{Service, notify};
use wheatear::{Error, ErrorKind, Result};

/// How often it is looked for signals.
const LOOK: Duration = Duration::from_millis(100);

/// Hears microphones, tells what it hears, learns what it is told, and serves a page, as a service
#[derive(Parser)]
#[command(name = "wheateard", version, about)]
struct Cli {
    /// Configuration file
    #[arg(long, value_name = "FILE.toml", env = "WHEATEAR_CONFIG")]
    config: Option<PathBuf>,
    /// Set a key, before the file and the environment (WHEATEAR_SERVE_ADDRESS); may be given several times
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
}

/// The log: what a person who looks after the device should know.
struct Log;

impl Sink for Log {
    fn take(&mut self, event: &Event) -> Result<()> {
        match &event.what {
            What::Notice { level, source, text } => match level {
                Level::Info => log::info!("{source}: {text}"),
                Level::Warning => log::warn!("{source}: {text}"),
                Level::Error => log::error!("{source}: {text}"),
            },
            What::Learned { classes, rows, by, .. } => log::info!("learned {} from {by}: {rows} windows", classes.join(", ")),
            What::Undone { rows, by, .. } => log::info!("{by} took {rows} windows back"),
            What::Serving { refused: Some(why), .. } => log::warn!("the new head was refused: {why}"),
            What::Serving { .. } => log::info!("the head of generation {} serves", event.generation),
            What::Began { .. } | What::Heard { .. } | What::Asked { .. } => {}
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    // First of all, while there is one thread.
    telemetry::off_in_program();
    let filter = env_logger::Env::default().default_filter_or("info,symphonia=off");
    env_logger::Builder::from_env(filter).format_timestamp(None).format_target(false).init();
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.kind().exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let config = load(cli)?;
    if cli.check {
        wheatear::service::check(&config)?;
        wheatear::service::check_places(&config)?;
        println!("the configuration can be used");
        return Ok(());
    }
    let flag = || Arc::new(AtomicBool::new(false));
    let (stop, reload) = (flag(), flag());
    let failed = |e| Error::new(ErrorKind::Storage, "the system lets no signal be taken").because(e);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Whoever asks twice does not want to wait for the disk.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    signal_hook::flag::register(signal_hook::consts::SIGHUP, reload.clone()).map_err(failed)?;

    let mut service = Service::start(config, vec![Box::new(Log)], false, None)?;
    let status = service.address().map_or("listening".to_owned(), |at| format!("listening, served at {at}"));
    log::info!("{status}");
    notify::ready(&status);
    let (period, mut told) = (notify::watchdog(), Instant::now());
    let ended = loop {
        if stop.load(Relaxed) {
            break Ok(());
        }
        if let Err(e) = service.check() {
            break Err(e);
        }
        if period.is_some_and(|period| told.elapsed() >= period) {
            notify::alive();
            told = Instant::now();
        }
        if reload.swap(false, Relaxed) {
            notify::reloading();
            match load(cli).and_then(|config| reload_alive(&mut service, config, period)) {
                Ok(waits) if waits.is_empty() => log::info!("the configuration was read again"),
                Ok(waits) => log::warn!("the configuration was read again; changes in {} wait for a restart", waits.join(", ")),
                Err(e) => log::error!("{e}; the configuration before holds on"),
            }
            notify::ready(&status);
        }
        std::thread::sleep(LOOK);
    };
    notify::stopping();
    let stopped = service.stop();
    ended.and(stopped)
}

/// Takes another configuration, and tells the service manager meanwhile that all is well: another adapter may take its time.
fn reload_alive(service: &mut Service, config: Config, period: Option<Duration>) -> Result<Vec<&'static str>> {
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| service.reload(config));
        let mut told = Instant::now();
        while !reload.is_finished() {
            if period.is_some_and(|period| told.elapsed() >= period) {
                notify::alive();
                told = Instant::now();
            }
            std::thread::sleep(LOOK);
        }
        let failed = || Error::new(ErrorKind::Storage, "reading the configuration again failed").cure("see the log, and start it again");
        reload.join().unwrap_or_else(|_| Err(failed()))
    })
}

fn load(cli: &Cli) -> Result<Config> {
    let mut set = Override::from_environment();
    for text in &cli.set {
        set.push(Override::parse(text)?);
    }
    Config::load_with(cli.config.as_deref(), &set)
}
