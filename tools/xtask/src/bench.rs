//! `cargo xtask bench`: measurements, each a program of its own that is built when it is asked for.

use crate::assets::Places;
use crate::process::{loud, typed};
use anyhow::Result;
use clap::Subcommand;
use std::process::Command;

/// What is measured.
#[derive(Subcommand)]
pub enum Bench {
    /// Wear and speed of the adapter store beside SQLite, redb and a bare file; `store --help` has its options
    #[command(disable_help_flag = true)]
    Store {
        /// Options of the benchmark, for instance `--folder /media/card --json figures.json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// What learning and predicting cost, over dimensions and classes; `learn --help` has its options
    #[command(disable_help_flag = true)]
    Learn {
        /// Options of the benchmark, for instance `--json figures.json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Builds the benchmark and runs it in the folder where one is.
pub fn run(what: &Bench) -> Result<()> {
    let places = Places::find()?;
    let (package, args) = match what {
        Bench::Store { args } => ("bench-store", args),
        Bench::Learn { args } => ("bench-learn", args),
    };
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--package", package]).current_dir(&places.root);
    let mut bench = Command::new(places.root.join("target/release").join(package));
    bench.args(args);
    if std::env::var_os("WHEATEAR_BENCH_FOLDER").is_none() {
        bench.env("WHEATEAR_BENCH_FOLDER", places.root.join("target/bench"));
    }
    for mut command in [build, bench] {
        eprintln!("$ {}", typed(&command, &places.root));
        loud(&mut command)?;
    }
    Ok(())
}
