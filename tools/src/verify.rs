//! `wheatear verify`: reads every byte of an adapter and says whether it is as it was written. Reads only, also while a
//! daemon writes.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::store::verify::{Finding, Verified};
use wheatear::store::{Adapter, Recovery};
use wheatear::{Error, ErrorKind};

use crate::output::{bold, counted, print_facts};

/// Read every byte of an adapter and say whether it is whole; exit code 9 when it is not
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Fault<'a> {
    what: &'a str,
    at: &'a str,
    means: &'a str,
}

#[derive(Serialize)]
struct Bound {
    what: &'static str,
    used: u64,
    most: u64,
}

#[derive(Serialize)]
struct Facts<'a> {
    adapter: &'a Path,
    /// `clean`, `rolled-back`, `damaged` (and opens all the same) or `refused`.
    verdict: &'static str,
    says: String,
    #[serde(flatten)]
    seen: Option<Seen<'a>>,
}

#[derive(Serialize)]
struct Seen<'a> {
    generation: u64,
    findings: Vec<Fault<'a>>,
    damaged_chunks: u64,
    header_copies: u64,
    checkpoints: u64,
    extents: u64,
    chunks: u64,
    records: u64,
    bytes: u64,
    held_rows: u64,
    blocks: u64,
    summed_blocks: u64,
    components: u64,
    components_at_limit: u64,
    bounds: Vec<Bound>,
}

impl<'a> Seen<'a> {
    fn of(v: &'a Verified) -> Seen<'a> {
        Seen {
            generation: v.generation,
            findings: v.findings.iter().map(|Finding { what, at, means }| Fault { what, at, means }).collect(),
            damaged_chunks: v.damaged_chunks,
            header_copies: v.header_copies,
            checkpoints: v.roots,
            extents: v.extents,
            chunks: v.chunks,
            records: v.records,
            bytes: v.bytes,
            held_rows: v.held_rows,
            blocks: v.blocks,
            summed_blocks: v.summed_blocks,
            components: v.components,
            components_at_limit: v.components_at_limit,
            bounds: v.bounds.iter().map(|b| Bound { what: b.what, used: b.used, most: b.most }).collect(),
        }
    }
}

/// Runs `wheatear verify`.
///
/// # Errors
/// `Corrupt` when it is not clean. What says nothing about the adapter's bytes is told as it is: no adapter there, a newer
/// version's, one that may not be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    // What the store would warn of is in the report.
    log::set_max_level(log::LevelFilter::Error);
    let here = &args.adapter;
    let verified = match Adapter::verify(here) {
        Ok(verified) => verified,
        Err(e) if e.kind() == ErrorKind::Corrupt || e.kind() == ErrorKind::Missing && here.join("header").exists() => {
            let says = format!("refused, because {e}");
            print_facts(args.json, &Facts { adapter: here, verdict: "refused", says, seen: None }, table)?;
            return Err(Error::new(ErrorKind::Corrupt, "the adapter is damaged and cannot be opened")
                .at(here.display())
                .cure("restore it from a copy, or salvage its rows: wheatear repair")
                .into());
        }
        Err(e) => return Err(e.into()),
    };
    let (verdict, says) = match (verified.recovery, verified.findings.len()) {
        (Recovery::Clean, 0) => ("clean", "clean".to_owned()),
        (Recovery::Clean, n) => ("damaged", format!("damaged in {}, and opens all the same", counted(n as u64, "place"))),
        (rolled_back, _) => ("rolled-back", rolled_back.to_string()),
    };
    print_facts(args.json, &Facts { adapter: here, verdict, says: says.clone(), seen: Some(Seen::of(&verified)) }, table)?;
    let cure = match (verified.is_clean(), verified.findings.is_empty()) {
        (true, _) => return Ok(()),
        (false, true) => "the next command that writes to it mends that",
        (false, false) => {
            "wheatear repair makes a new adapter of all that is whole and lists what is not; wheatear compact writes this one anew where repair would save no more rows"
        }
    };
    Err(Error::new(ErrorKind::Corrupt, "the adapter is not as it was written").at(here.display()).found(says).cure(cure).into())
}

fn table(f: &Facts<'_>) -> String {
    let mut text = format!("{}\n", bold(&format!("{}: {}", f.adapter.display(), f.says)));
    let Some(s) = &f.seen else { return text };
    let mut line = |key: &str, value: String| text += &format!("  {key:<12} {value}\n");
    s.findings.iter().for_each(|x| line("found", format!("{} ({}): {}", x.what, x.at, x.means)));
    line("generation", s.generation.to_string());
    line("read", format!("{:.1} MiB: all there is", s.bytes as f64 / f64::from(1 << 20)));
    line("header", format!("{} whole copies", s.header_copies));
    line("checkpoints", format!("{}, {} parts of the newest two", s.checkpoints, s.extents));
    line("chunks", format!("{}, {} in those that are needed; {} damaged", s.chunks, counted(s.records, "record"), s.damaged_chunks));
    let blocks = format!("{} of {} blocks are exactly the sums of held rows", s.summed_blocks, s.blocks);
    line("statistics", if s.summed_blocks == s.blocks { blocks } else { format!("{blocks}; of the others rows left replay") });
    let clipped = 100.0 * s.components_at_limit as f64 / s.components.max(1) as f64;
    line("latents", format!("{clipped:.2} % of the held components at an end of their range"));
    line("bounds", s.bounds.iter().map(|b| format!("{} of {} {}", b.used, b.most, b.what)).collect::<Vec<_>>().join(", "));
    text
}
