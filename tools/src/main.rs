//! `wheatear`: the host command, one file a subcommand.

mod lab;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "wheatear", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Lab(lab::Args),
}

fn main() -> std::process::ExitCode {
    env_logger::init();
    let result = match Cli::parse().command {
        Command::Lab(args) => lab::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            std::process::ExitCode::from(e.downcast_ref::<wheatear::Error>().map_or(1, |e| e.kind().exit_code()))
        }
    }
}
