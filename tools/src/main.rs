//! `wheatear`: the host command, one file a subcommand. Results go to standard output, progress and log to standard error.
//!
//! Exit codes: 0 done, 1 unforeseen, 2 usage, and one for each kind of error from 3 on (`wheatear::ErrorKind::exit_code`).

mod accept;
mod adapter;
mod asking;
mod board;
mod classify;
mod clock;
mod compact;
mod devices;
mod doctor;
mod dump;
mod embed;
mod export;
mod forget;
mod inspect;
mod lab;
mod listen;
mod load;
mod onnx;
mod opened;
mod output;
mod portable;
mod rebase;
mod record;
mod recorded;
mod recording;
mod relabel;
mod repair;
mod rollback;
mod sounds;
mod tally;
mod tape;
mod teach;
mod undo;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done · 1 unforeseen · 2 usage · 3 bad input · 4 something is missing · 5 mismatch · 6 configuration · \
7 storage · 8 busy · 9 corrupt · 10 backbone · 11 a bound is reached · 12 cannot learn";

#[derive(Parser)]
#[command(name = "wheatear", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn an ONNX model into a backbone
    Export(Box<export::Args>),
    Teach(Box<teach::Args>),
    Listen(Box<listen::Args>),
    Classify(Box<classify::Args>),
    Inspect(inspect::Args),
    Accept(accept::Args),
    Undo(undo::Args),
    Relabel(relabel::Args),
    Forget(forget::Args),
    Rollback(rollback::Args),
    Compact(compact::Args),
    Verify(verify::Args),
    Dump(dump::Args),
    Load(load::Args),
    Repair(repair::Args),
    Rebase(Box<rebase::Args>),
    Devices(devices::Args),
    Doctor(doctor::Args),
    Record(record::Args),
    Lab(lab::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> std::process::ExitCode {
    // First of all, while there is one thread.
    wheatear::backbone::telemetry::off_in_program();
    // symphonia warns of every odd tag in a file; what matters of a damaged sound is reported by the commands themselves.
    let filter = env_logger::Env::default().default_filter_or("warn,symphonia=off");
    env_logger::Builder::from_env(filter).format_timestamp(None).format_target(false).init();
    let result = match Cli::parse().command {
        Command::Export(args) => export::run(&args),
        Command::Teach(args) => teach::run(&args),
        Command::Listen(args) => listen::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Accept(args) => accept::run(&args),
        Command::Undo(args) => undo::run(&args),
        Command::Relabel(args) => relabel::run(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Rebase(args) => rebase::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wheatear", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {}", message(&e));
            std::process::ExitCode::from(e.downcast_ref::<wheatear::Error>().map_or(1, |e| e.kind().exit_code()))
        }
    }
}

/// What went wrong and why, down to the first `wheatear::Error`, which names its own cause.
fn message(error: &anyhow::Error) -> String {
    let mut said = Vec::new();
    for cause in error.chain() {
        said.push(cause.to_string());
        if cause.is::<wheatear::Error>() {
            break;
        }
    }
    said.join(": ")
}
