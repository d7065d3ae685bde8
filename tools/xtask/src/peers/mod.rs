//! `cargo xtask peers`: our heads beside other programs on the same class-incremental stream, in one run.
//!
//! Every program gets the same rows in the same order and chunks (4 grouped folds, 3 seeds, 2 classes a task, 16 rows a
//! chunk). Each runs as a process of its own, one after another, on one core and with one thread. Ours learn 8-bit latents;
//! the others learn f32 embeddings, and 8-bit latents where they replay. What cannot run here is named with its reason.

mod data;
mod environment;
pub mod live;
mod measure;
mod programs;
mod table;

use crate::assets::Places;
use crate::check::onnxruntime;
use crate::note;
use crate::process::{loud, typed};
use crate::setup::{self, Goal};
use crate::step::{Steps, write_atomically};
use anyhow::{Context, Result, bail, ensure};
use data::{Named, Own};
use environment::Environment;
use programs::{Figures, LeftOut, Program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What to compare on, and where the figures go.
#[derive(clap::Args)]
pub struct Args {
    /// Embeddings beside the project's own: npz with X f32 (n, D), y integer (n), names (C), group (n); may be given again
    #[arg(long, value_name = "NAME=FILE.npz", value_parser = data::named)]
    data: Vec<Named>,
    /// Which of the project's own sets: latents in the repository, and sounds that set-up fetches
    #[arg(long, value_enum, value_delimiter = ',', default_value = "clips,instruments,sonicpi")]
    own: Vec<Own>,
    /// Only these programs, beside the head that they are compared with
    #[arg(long, value_name = "PROGRAM", value_delimiter = ',', value_parser = programs::named)]
    only: Vec<Program>,
    /// Runs of every program; of several the median speed and the largest memory are shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Write the figures as a JSON array
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Fetch nothing: use what is cached
    #[arg(long)]
    offline: bool,
}

/// Mean difference between our slda and numpy's over the runs, from where on they cannot have learned the same rows: one test
/// row that falls otherwise changes the mean by less.
const SAME_ACCURACY: f64 = 0.005;

/// Compares, and names at the end what was left out.
///
/// # Errors
/// Where our own program fails, an input cannot be used, or the splits are not read alike.
pub fn run(args: &Args) -> Result<()> {
    let goal = if args.own.iter().any(|o| o.needs_sounds()) { Goal::Test } else { Goal::Build };
    let places = setup::run(goal, args.offline)?;
    let work = places.root.join("target/peers");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "-p", "wheatear-tools"]).current_dir(&places.root);
    eprintln!("$ {}", typed(&build, &places.root));
    loud(&mut build)?;
    let environment = environment::make(&places, &mut Steps::new(&work, 1), &work, ("requirements.txt", "venv"), args.offline);
    let mut bench = Bench { core: measure::last_core()?, environment, work, left_out: Vec::new(), places };
    match &bench.environment {
        Ok(environment) => environment.test()?,
        Err(e) => bench.left_out.push(LeftOut { what: "every program in Python".into(), why: format!("{e:#}") }),
    }
    let sets = bench.sets(args)?;
    ensure!(!sets.is_empty(), "there is no data to compare on: give --data NAME=FILE.npz, or make a python 3.11 available");
    if let Some(file) = &args.json {
        // Before hours of measuring: whether it can be written.
        write_atomically(file, b"[]\n")?;
    }
    println!("One core each (number {}), one thread, one program after another; load average {}", bench.core, measure::load());
    let mut all = Vec::new();
    for set in &sets {
        note(&set.name);
        let figures = bench.compare(set, &args.only, args.rounds)?;
        println!("\n{}", table::table(&figures));
        all.extend(figures);
        // Behind each set, so that a run that is cut off leaves what it measured.
        if let Some(file) = &args.json {
            write_atomically(file, format!("{}\n", serde_json::to_string_pretty(&all)?).as_bytes())?;
        }
    }
    println!("load average {} at the end", measure::load());
    for LeftOut { what, why } in &bench.left_out {
        println!("LEFT OUT: {what}: {why}");
    }
    Ok(())
}

struct Bench {
    places: Places,
    work: PathBuf,
    environment: Result<Environment>,
    core: usize,
    left_out: Vec<LeftOut>,
}

impl Bench {
    /// The sets to compare on, those of the project made anew.
    fn sets(&mut self, args: &Args) -> Result<Vec<Named>> {
        let folder = self.work.join("data");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut sets = Vec::new();
        for (_, own) in args.own.iter().enumerate().filter(|(i, own)| !args.own[..*i].contains(own)) {
            let file = folder.join(format!("{}.npz", own.name()));
            let mut command = match (own.needs_sounds(), &self.environment) {
                (true, _) => {
                    let mut embed = self.wheatear()?;
                    embed.args(["lab", "embed", "--audio"]).arg(self.places.assets.join("sounds").join(own.name()));
                    embed.arg("--backbone").arg(self.places.assets.join("models/aisfx")).arg("--out").arg(&file);
                    embed
                }
                (false, Ok(environment)) => environment.script("committed.py", &[&self.places.root.join("tests"), &file]),
                (false, Err(_)) => {
                    let why = "python writes it, and there is none".to_string();
                    self.left_out.push(LeftOut { what: format!("data {}", own.name()), why });
                    continue;
                }
            };
            eprintln!("$ {}", typed(&command, &self.places.root));
            loud(&mut command)?;
            sets.push(Named { name: own.name().to_string(), file });
        }
        for named in &args.data {
            if sets.iter().any(|s| s.name == named.name) {
                bail!("two sets are called {}: expected a name for each in --data NAME=FILE.npz; give another", named.name);
            }
            ensure!(named.file.is_file(), "--data {}: there is no file {}; expected an npz file", named.name, named.file.display());
            sets.push(named.clone());
        }
        Ok(sets)
    }

    /// Every program on `set`, or `only` some beside the one they are compared with, `rounds` times.
    fn compare(&mut self, set: &Named, only: &[Program], rounds: u8) -> Result<Vec<Figures>> {
        let splits = self.work.join(format!("data/{}.splits.json", set.name));
        // Ours makes the splits, from this data and no older.
        if splits.exists() {
            fs::remove_file(&splits).with_context(|| format!("cannot remove {}", splits.display()))?;
        }
        let mut found: Vec<(Program, Vec<Figures>)> = Vec::new();
        for round in 0..rounds {
            for program in programs::all() {
                let wanted = only.is_empty() || program == programs::base() || only.contains(&program);
                let failed = round > 0 && !found.iter().any(|(p, _)| *p == program);
                if !wanted || failed || program.python().is_some() && self.environment.is_err() {
                    continue;
                }
                let started = Instant::now();
                eprint!("  {} ... ", program.name());
                match self.measure(&program, set, &splits) {
                    Ok(figures) => {
                        let seconds = started.elapsed().as_secs_f64();
                        eprintln!("{:.3}, {:.0} rows/s ({seconds:.1} s)", figures.accuracy, figures.rows_per_s);
                        match found.iter_mut().find(|(p, _)| *p == program) {
                            Some((_, all)) => all.push(figures),
                            None => found.push((program, vec![figures])),
                        }
                    }
                    Err(e) if program.python().is_some() => {
                        eprintln!("LEFT OUT: {e:#}");
                        self.left_out.push(LeftOut { what: format!("{} on {}", program.name(), set.name), why: format!("{e:#}") });
                    }
                    Err(e) => return Err(e.context(format!("{} on {}", program.name(), set.name))),
                }
            }
        }
        let all: Vec<Figures> = found.into_iter().filter_map(|(_, rounds)| Figures::over_rounds(rounds)).collect();
        self.check_splits(set, &splits, &all)?;
        Ok(all)
    }

    fn measure(&self, program: &Program, set: &Named, splits: &Path) -> Result<Figures> {
        let command = match (program.python(), &self.environment) {
            (Some((script, only)), Ok(environment)) => {
                let mut command = environment.script(script, &[&set.file, splits, &self.out()]);
                command.args(["--only", only]);
                command
            }
            (Some(_), Err(e)) => bail!("{e:#}"),
            (None, _) => {
                let mut lab = self.wheatear()?;
                lab.args(["lab", "run", "--no-offline", "--json", "--embeddings"]).arg(&set.file).arg("--splits").arg(splits);
                lab.args(["--head", program.head()]);
                lab
            }
        };
        let measured = measure::pinned(&command, self.core)?;
        let said = if program.python().is_some() { fs::read_to_string(self.out())? } else { measured.said };
        program.figures(&set.name, &said, measured.peak_bytes)
    }

    /// Has numpy learn our latents on these splits: if it scores otherwise, the rows were not the same.
    fn check_splits(&self, set: &Named, splits: &Path, all: &[Figures]) -> Result<()> {
        let Ok(environment) = &self.environment else {
            println!("NOT CHECKED that the splits are read alike: there is no python");
            return Ok(());
        };
        let ours = all.iter().find(|f| f.peer == programs::base().name()).context("our slda was not run")?;
        let mut command = environment.script("numpy_slda_rows.py", &[&set.file, splits, &self.out()]);
        measure::pinned(command.arg("--quantised"), self.core)?;
        let theirs = programs::runs(&fs::read_to_string(self.out())?)?;
        let differences: Vec<f64> = ours.runs.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).collect();
        let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
        let most = differences.iter().copied().fold(0.0, f64::max);
        ensure!(
            theirs.len() == ours.runs.len() && mean <= SAME_ACCURACY,
            "the splits of {} are not read alike: expected numpy's slda on our latents to score as ours in each of {} runs, found {} runs \
             that differ by {mean:.4} on average; compare tools/peers/stream.py with tools/src/lab/split.rs",
            set.name,
            ours.runs.len(),
            theirs.len()
        );
        println!("the splits are read alike: numpy's slda on our latents differs from ours by at most {most:.4} in {} runs", theirs.len());
        Ok(())
    }

    fn out(&self) -> PathBuf {
        self.work.join("data/out.json")
    }

    fn wheatear(&self) -> Result<Command> {
        let mut command = Command::new(self.places.root.join("target/release/wheatear"));
        command.env("WHEATEAR_ASSETS", &self.places.assets).env("ORT_DYLIB_PATH", onnxruntime(&self.places)?);
        Ok(command)
    }
}
