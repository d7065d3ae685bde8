//! `cargo xtask`: sets the machine up, runs the demo and the checks.
//!
//! Everything is fetched through pip, apt and cargo as the machine has them configured, pinned in `assets.toml` by version
//! and SHA-256, and kept under `target/assets`.

mod assets;
mod bench;
mod cache;
mod check;
mod cross;
mod debian;
mod demo;
mod fetch;
mod fuzz;
mod live;
mod peers;
mod process;
mod setup;
mod soak;
mod soundfont;
mod sounds;
mod step;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo and checks of Wheatear", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch and make what the demo and the tests need; quick when it is there
    Setup {
        /// What to set up for
        #[arg(long = "for", value_enum, default_value = "all")]
        goal: setup::Goal,
        /// Fetch nothing: use what is cached, and say what is missing
        #[arg(long)]
        offline: bool,
    },
    /// Show the whole loop on real sounds: learn 20 instruments two at a time, compare, classify, report
    Demo {
        /// Fetch nothing: use what is cached
        #[arg(long)]
        offline: bool,
    },
    /// Teach two new classes live, through a sound server, and name them in clips that were never heard
    Live {
        /// Fetch nothing: use what is cached
        #[arg(long)]
        offline: bool,
    },
    /// Drive the page of the daemon in a real browser, on live sound; pictures of it go to target/page
    Page {
        /// Fetch nothing: use what is cached
        #[arg(long)]
        offline: bool,
    },
    /// Set up, then run the tests; with arguments, run the runner (nextest if installed, else cargo test) with these
    Test {
        /// Fetch nothing: use what is cached
        #[arg(long)]
        offline: bool,
        /// Arguments of the runner, for instance `-p wheatear store::`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The long proofs: every crash, the whole lab from audio on every set, properties with many cases
    #[command(args_conflicts_with_subcommands = true)]
    Prove {
        #[command(subcommand)]
        what: Option<Proof>,
        /// Cases of each property test
        #[arg(long, default_value_t = 10_000)]
        cases: u32,
        /// Fetch nothing: use what is cached
        #[arg(long)]
        offline: bool,
    },
    /// A power cut at every moment of long lives of an adapter, and every single bit of one flipped
    Crash,
    /// Measure the runtime beside others
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Our heads beside scikit-learn, river, numpy and ONNX Runtime's training on the same stream: accuracy, speed, memory
    #[command(args_conflicts_with_subcommands = true)]
    Peers {
        #[command(subcommand)]
        what: Option<Peers>,
        #[command(flatten)]
        args: peers::Args,
    },
    /// Give any bytes to everything that reads bytes, by cargo-fuzz with a nightly compiler; ten seconds a target unless said
    Fuzz {
        /// Only this target; may be given again
        #[arg(long)]
        target: Vec<String>,
        /// Most executions of each target
        #[arg(long)]
        runs: Option<u64>,
        /// Most seconds for each target
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Build for 64-bit ARM Linux; with arguments, as `cargo build` takes them, else library and tools as for release
    Cross {
        /// Arguments of cargo build, for instance `--release --package wheatear-tools`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the tests of the library's kernels for 64-bit ARM Linux under qemu; with arguments, other tests of the library
    Emulate {
        /// Arguments of cargo test, for instance `store::pack`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check licences, bans and sources of the dependencies with cargo-deny
    Deny,
    /// Everything that continuous integration runs
    Ci,
}

/// A long proof that is run by itself.
#[derive(Subcommand)]
enum Proof {
    /// An hour of sound as fast as the machine allows, and half an hour through a sound server: nothing lost, memory bounded
    Soak(soak::Args),
}

/// What else is compared.
#[derive(Subcommand)]
enum Peers {
    /// The way from sound to answers beside livekit-wakeword's on the same speech-embedding model: speed, memory
    Live(peers::live::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup { goal, offline } => setup::run(goal, offline).map(|places| {
            eprintln!("set up: {} (peak memory {} MiB)", places.show(&places.assets), process::peak_so_far_kib() >> 10);
            true
        }),
        Task::Demo { offline } => demo::run(offline).map(|()| true),
        Task::Live { offline } => live::run(offline).map(|()| true),
        Task::Page { offline } => check::page(offline),
        Task::Test { offline, args } => check::test(&args, offline),
        Task::Prove { what: Some(Proof::Soak(args)), .. } => soak::run(&args).map(|()| true),
        Task::Prove { what: None, cases, offline } => check::prove(cases, offline).map(|()| true),
        Task::Crash => check::crash(),
        Task::Bench { what } => bench::run(&what).map(|()| true),
        Task::Peers { what: Some(Peers::Live(args)), .. } => peers::live::run(&args).map(|()| true),
        Task::Peers { what: None, args } => peers::run(&args).map(|()| true),
        Task::Fuzz { target, runs, seconds } => fuzz::run(&target, fuzz::Budget::of(runs, seconds)),
        Task::Cross { args } => cross::build(&args).map(|()| true),
        Task::Emulate { args } => cross::emulate(&args),
        Task::Deny => check::deny().map(|()| true),
        Task::Ci => check::ci().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // What failed has been said by the program that found it.
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// A heading between the steps that a person watches.
fn note(text: &str) {
    println!("\n== {text}");
}
