//! The host command `wheatear`.

mod export;
mod onnx;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Turn an ONNX model into a backbone
    Export(Box<export::Args>),
}

fn main() -> std::process::ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let Command::Export(args) = Command::parse();
    match export::run(&args) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::ExitCode::from(e.downcast_ref::<wheatear::Error>().map_or(1, |e| e.kind().exit_code()))
        }
    }
}
