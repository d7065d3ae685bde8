//! `wheatear load`: a new adapter from what `wheatear dump` has written. It has all that the old one had, and learns on as
//! another incarnation of its device, since the old one may go on learning, too.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::backbone::manifest::Manifest;
use wheatear::latent::SpaceId;
use wheatear::store::{Adapter, Creation};
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use crate::opened::{acknowledged, tell_size};
use crate::output::{counted, print_facts};
use crate::portable;
use wheatear::service::backbone::remember;

/// Make an adapter of what `dump` has written
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Folder that dump has written
    folder: PathBuf,
    /// The new adapter: a folder that must be new or empty
    #[arg(long, value_name = "FOLDER")]
    adapter: PathBuf,
    /// Its backbone, which the new adapter remembers; without it the next teach is told
    #[arg(long, value_name = "FOLDER")]
    backbone: Option<PathBuf>,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Loaded<'a> {
    adapter: &'a PathBuf,
    from: &'a PathBuf,
    /// Name of the backbone that it belongs to.
    backbone: String,
    /// Where that is; none when it was not said.
    backbone_folder: Option<&'a PathBuf>,
    rows: u64,
    recordings: u64,
    origin: String,
    dumped_by: String,
    statistics_sha256: String,
    generation: u64,
    durable: bool,
}

/// Runs `wheatear load`.
///
/// # Errors
/// Those of [`portable::read`] and of the backbone's manifest; `Mismatch` when it is another backbone; `Input` when there is something in
/// the adapter's place; `Storage` when there is no room.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let contents = portable::read(&args.folder, u64::from_le_bytes(clock::random_bytes()?))?;
    if let Some(backbone) = &args.backbone {
        check_backbone(backbone, &contents.anew.creation)?;
    }
    if std::fs::read_dir(&args.adapter).map_or(true, |mut entries| entries.next().is_none()) {
        tell_size(&contents.anew.creation)?;
    }
    let records = contents.records;
    let adapter = Adapter::import(&args.adapter, clock::random_bytes()?, contents.anew, |sink| records.into_iter().try_for_each(sink))?;
    args.backbone.iter().for_each(|backbone| remember(backbone, &args.adapter));
    let loaded = Loaded {
        adapter: &args.adapter,
        from: &args.folder,
        backbone: adapter.header().creation.backbone.clone(),
        backbone_folder: args.backbone.as_ref(),
        rows: adapter.held_rows(),
        recordings: adapter.sources().count() as u64,
        origin: adapter.origin().to_string(),
        dumped_by: contents.dumped_by.to_string(),
        statistics_sha256: adapter.statistics_digest()?.iter().map(|b| format!("{b:02x}")).collect(),
        generation: adapter.generation(),
        durable: adapter.is_durable(),
    };
    print_facts(args.json, &loaded, |l| {
        let done = acknowledged(l.generation, l.durable);
        let (held, known) = (counted(l.rows, "row"), counted(l.recordings, "recording"));
        let text = format!("{}: {held} held, {known} known; {done}\n", l.adapter.display());
        let text = format!("{text}learns on as {}; statistics sha256 {}\n", l.origin, l.statistics_sha256);
        match l.backbone_folder {
            Some(_) => text,
            None => {
                let name = &l.backbone;
                format!(
                    "{text}belongs to the backbone {name}: name its folder with --backbone from now on; after wheatear teach it is remembered\n"
                )
            }
        }
    })
}

/// Refuses a backbone whose latents are not those of an adapter of `creation`.
fn check_backbone(folder: &Path, creation: &Creation) -> Result<()> {
    let (manifest, _) = Manifest::load(folder)?;
    let space = SpaceId::of(&manifest, Some(creation.bits))?;
    if space == creation.space {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Mismatch, "the dump is of another backbone")
        .at(folder.display())
        .expected(format!("{} with space {}", creation.backbone, &creation.space.to_string()[..16]))
        .found(format!("{} with space {}", manifest.name, &space.to_string()[..16]))
        .cure("give the backbone that it was taught with, or leave out --backbone"))
}
