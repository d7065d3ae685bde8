//! What learning and predicting cost over dimensions and classes: medians of repeated runs on one thread, with the multiply-adds
//! beside each, so that one sees that the cost grows as it should. The rows are synthetic: what is timed does not depend on them.

#[path = "../../bench-store/src/machine.rs"]
mod machine;
mod measure;
mod rows;
mod work;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

use machine::Machine;
use measure::Figure;

const DIMS: [usize; 5] = [96, 256, 512, 1024, 2048];
const ROWS: [usize; 5] = [1, 8, 16, 32, 64];
const CLASSES: [usize; 4] = [2, 20, 100, 1000];
/// Most components times classes of a tournament: beyond, one takes minutes. What is unknown is solved by one of fewer rows.
const TOURNAMENT_MAX: usize = 1024 * 100;
const UNKNOWN_MAX: usize = 1024 * 1000;

/// What learning and predicting cost, over dimensions and classes
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench learn", version)]
struct Cli {
    /// Dimensions that are measured
    #[arg(long, value_name = "D", value_delimiter = ',', default_values_t = DIMS)]
    dims: Vec<usize>,
    /// Also write the figures to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// All figures, with what they were measured on.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    figures: Vec<Figure>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let machine = Machine::look();
    let load = machine.load.map_or_else(|| "unknown".into(), |l| l.to_string());
    println!("{}, {} cores, Linux {}, load {load} at the start; one thread", machine.processor, machine.cores, machine.kernel);
    println!(
        "\n| what | D | classes or rows | median, us | least, us | runs | 10^6 multiply-adds | a us |\n|---|---|---|---|---|---|---|---|"
    );
    let mut report = Report { machine, figures: Vec::new() };
    let mut tell = |figures: Vec<Figure>| {
        figures.iter().for_each(|f| println!("{}", line(f)));
        report.figures.extend(figures);
    };
    let dims = || cli.dims.iter().copied();
    let shapes = || dims().flat_map(|d| CLASSES.map(|c| (d, c)));
    for dim in dims() {
        for rows in ROWS {
            tell(vec![work::gram(dim, rows)?]);
        }
    }
    for (dim, classes) in shapes() {
        tell(work::label_to_head(dim, classes)?);
    }
    for (dim, classes) in shapes().filter(|(d, c)| d * c <= UNKNOWN_MAX) {
        tell(work::window(dim, classes)?);
    }
    for (dim, classes) in shapes().filter(|(d, c)| *c < 1000 && d * c <= TOURNAMENT_MAX) {
        tell(vec![work::tournament(dim, classes)?]);
    }
    if let Some(file) = &cli.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn line(f: &Figure) -> String {
    let rate = f.operations / f.median_us;
    format!(
        "| {} | {} | {} | {:.2} | {:.2} | {} | {:.3} | {rate:.0} |",
        f.what,
        f.dim,
        f.count,
        f.median_us,
        f.least_us,
        f.runs,
        f.operations / 1e6
    )
}
