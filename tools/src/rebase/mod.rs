//! `wheatear rebase`: a new adapter for another backbone, with what an old one learned, from the clips that were kept.
//!
//! Latents of one backbone mean nothing to another. What was labelled is kept, though: recordings are known by their digests,
//! their clips are embedded again and learned with the labels that their rows have now.

mod count;
mod plan;
mod windows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::backbone::manifest::Manifest;
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::Origin;
use wheatear::store::{Adapter, Batch, Creation, Durability, NewRow};
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use wheatear::service::backbone::{BackboneChoice, hinted};

use crate::embed::{BackboneArgs, ConfigArgs, Embedded, Latent, embed_files, latent_of, progress};
use crate::opened::{Found, reading, tell_size};
use crate::output::{counted, print_facts};
use crate::tally::{ClassRows, line, list};
use plan::{Clips, Lost, Planned, Taught, WhatItIs, is_free};
use windows::{Cut, Given, given_to};

/// Make an adapter for another backbone of what one has learned, from the clips that were kept
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The adapter, which is only read
    adapter: PathBuf,
    /// The new adapter: a folder that is not there or is empty
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Folders with the clips that it was taught, searched with all below them; it knows them by their bytes
    #[arg(long, value_name = "FOLDER", required = true, num_args = 1..)]
    clips: Vec<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Backbone that the adapter was taught with: its manifest; without it where it was when the adapter was taught
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Bits of a latent component in the new adapter, 4 to 8; without it those of the old one
    #[arg(long, value_parser = clap::value_parser!(u8).range(4..=8))]
    latent_bits: Option<u8>,
    /// Go on without what cannot be computed again
    #[arg(long)]
    yes: bool,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

/// Clips between two syncs.
const CLIPS_PER_SYNC: usize = 16;

#[derive(Debug, Default, Serialize)]
struct Rebased {
    from: PathBuf,
    /// The new adapter; none when nothing was made.
    adapter: Option<PathBuf>,
    recordings: u64,
    rows: u64,
    silent_windows: u64,
    clipped_components: u64,
    /// Windows between rows that are different things.
    unlabelled_windows: u64,
    /// Clips that could not be used.
    unusable: Vec<String>,
    /// Rows by class that the old adapter's statistics count, and those that the new one's do.
    before: Vec<ClassRows>,
    now: Vec<ClassRows>,
    lost: Lost,
    /// What opening the old adapter found.
    #[serde(flatten)]
    found: Option<Found>,
}

/// Runs `wheatear rebase`.
///
/// # Errors
/// `Input` when something cannot be computed again and `--yes` is not given, or nothing can; `Missing` when the backbone that
/// it was taught with is needed and not found; those of the backbone and of making an adapter.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let backbone = args.backbone.choose(&config)?;
    let (old, device, taught, old_manifest, found) = reading(&args.adapter, |old| {
        let facts = (old.header().creation.clone(), old.origin().device);
        Ok((facts.0, facts.1, Taught::read(old)?, old_manifest(args, old)?, Found::of(old)))
    })?;
    let manifest = backbone.manifest()?;
    let bits = args.latent_bits.unwrap_or(old.bits);
    let quantiser = Quantiser::from_manifest(&manifest, Some(bits))?;
    let space = SpaceId::of(&manifest, Some(bits))?;
    if space == old.space {
        return Err(Error::new(ErrorKind::Input, "the adapter is of this backbone's space already")
            .at(args.adapter.display())
            .cure("use it as it is, or name another backbone")
            .into());
    }
    if !is_free(&args.out) {
        return Err(Error::new(ErrorKind::Input, "there is something in the new adapter's place already")
            .at(args.out.display())
            .cure("choose another folder, or remove this one")
            .into());
    }
    if taught.needs_windows() && old_manifest.is_none() {
        return Err(Error::new(ErrorKind::Missing, "the backbone that the adapter was taught with is not where it was")
            .at(args.adapter.display())
            .expected(format!("{}: its windows tell which part of a recording is what", old.backbone))
            .cure("name its folder, of which the manifest suffices: --from FOLDER")
            .into());
    }
    let before = list(taught.counted());
    let (planned, lost) = taught.plan(&Clips::find(&args.clips)?, old_manifest.as_ref())?;
    let mut done = Rebased { from: args.adapter.clone(), before, lost, found: Some(found), ..Rebased::default() };
    if planned.is_empty() {
        return Err(Error::new(ErrorKind::Input, "no recording that the adapter was taught is among the clips")
            .at(args.clips.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "))
            .cure("give the folders that it was taught from; a clip that was changed is not recognised")
            .into());
    }
    if !done.lost.is_empty() && !args.yes {
        print_facts(args.json, &done, text)?;
        return Err(Error::new(ErrorKind::Input, "not all that was learned can be computed again: what is listed above would be lost")
            .at(args.adapter.display())
            .expected("--yes")
            .cure("give the folders with the other clips, or add --yes to go on without them")
            .into());
    }
    backbone.check()?;
    let origin = Origin { device, incarnation: u64::from_le_bytes(clock::random_bytes()?) };
    let creation = Creation {
        space,
        backbone: manifest.name.clone(),
        modality: manifest.modality,
        dim: manifest.embedding.dim,
        bits,
        scale: quantiser.scale().to_vec(),
        origin,
        created: clock::now(),
        ..old
    };
    tell_size(&creation)?;
    let was_there = args.out.is_dir();
    let mut adapter = Adapter::create(&args.out, creation, clock::random_bytes()?)?;
    let cut = old_manifest.as_ref().map(cut);
    let learned = learn_all(&mut adapter, &backbone, &manifest, cut, &planned, args.yes, &mut done);
    if let Err(e) = learned {
        // Half of it would look like all of it.
        drop(adapter);
        remove(&args.out, was_there);
        return Err(e.into());
    }
    backbone.remember(&args.out);
    done.adapter = Some(args.out.clone());
    done.now = list(&adapter.tally());
    print_facts(args.json, &done, text)?;
    match done.unusable.len() {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Input, format!("{n} clips could not be used, the others are learned")).at(&done.unusable[0]).into()),
    }
}

/// The manifest of the backbone that `adapter` was taught with.
fn old_manifest(args: &Args, adapter: &Adapter) -> Result<Option<Manifest>> {
    let Some(folder) = args.from.clone().or_else(|| hinted(&args.adapter)) else { return Ok(None) };
    let own = |manifest: &Manifest| -> Result<()> {
        adapter.check_space(SpaceId::of(manifest, Some(adapter.header().creation.bits))?, &manifest.name)
    };
    let found = Manifest::load(&folder).and_then(|(manifest, _)| own(&manifest).map(|()| manifest));
    match (found, &args.from) {
        (Ok(manifest), _) => Ok(Some(manifest)),
        (Err(e), Some(_)) => Err(e),
        // What the hint says is used only when it is right.
        (Err(_), None) => Ok(None),
    }
}

fn cut(manifest: &Manifest) -> Cut {
    Cut { rate_hz: manifest.audio.rate_hz, window_samples: manifest.audio.window_samples }
}

/// Removes the adapter that was begun in `folder`.
fn remove(folder: &Path, keep_folder: bool) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.for_each(|entry| drop(std::fs::remove_file(entry.path())));
    if !keep_folder {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Embeds every clip once and learns what it is.
fn learn_all(
    adapter: &mut Adapter,
    backbone: &BackboneChoice,
    manifest: &Manifest,
    old: Option<Cut>,
    planned: &[Planned],
    go_on: bool,
    done: &mut Rebased,
) -> Result<()> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut by_file: BTreeMap<&Path, Vec<&Planned>> = BTreeMap::new();
    for recording in planned {
        let its = by_file.entry(&recording.clip).or_default();
        if its.is_empty() {
            files.push(recording.clip.clone());
        }
        its.push(recording);
    }
    let (quantiser, graph) = (adapter.quantiser()?, backbone.graph(manifest)?);
    let windows = Windows { old, new: cut(manifest), graph };
    let bar = progress("learning", files.len());
    embed_files(
        backbone,
        &files,
        || latent_of(&quantiser, manifest.silence_peak()),
        |i, got| {
            let got = match got {
                Ok(got) => got,
                Err(e) if go_on && matches!(e.kind(), ErrorKind::Input | ErrorKind::Missing | ErrorKind::Storage) => {
                    done.unusable.push(e.to_string());
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            for recording in by_file.get(files[i].as_path()).into_iter().flatten() {
                windows.learn(adapter, recording, &got, done)?;
            }
            if (i + 1).is_multiple_of(CLIPS_PER_SYNC) {
                adapter.sync()?;
            }
            bar.inc(1);
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    adapter.sync()
}

/// How the windows of the two backbones lie, and the graph that embeds the new ones.
struct Windows {
    old: Option<Cut>,
    new: Cut,
    graph: u64,
}

impl Windows {
    /// Learns the windows of one recording, as they were labelled.
    fn learn<'a>(
        &self,
        adapter: &mut Adapter,
        recording: &'a Planned,
        got: &'a Embedded<Option<Latent>>,
        done: &mut Rebased,
    ) -> Result<()> {
        let mut rows: Vec<(&Given, &Latent)> = Vec::new();
        for latent in got.windows.iter().flatten() {
            match self.given(recording, latent.start) {
                Some(given) => rows.push((given, latent)),
                None => done.unlabelled_windows += 1,
            }
        }
        done.silent_windows += got.windows.iter().filter(|w| w.is_none()).count() as u64;
        done.clipped_components += rows.iter().map(|(_, l)| u64::from(l.clipped)).sum::<u64>();
        let said = |given: &Given| (given.by.clone(), given.time);
        // One batch is what one person said at one time.
        let mut batches: Vec<Vec<(&Given, &Latent)>> = Vec::new();
        for row in rows {
            match batches.last_mut().filter(|b| said(b[0].0) == said(row.0)) {
                Some(batch) => batch.push(row),
                None => batches.push(vec![row]),
            }
        }
        let origin = adapter.origin();
        let batch = |(by, time), source_complete| Batch { origin, by, time, graph: self.graph, source: recording.source, source_complete };
        if batches.is_empty() {
            adapter.learn(&batch(("teach".to_owned(), clock::now()), true), &[], Durability::Later)?;
        }
        for (i, rows) in batches.iter().enumerate() {
            let new_row = |(given, l): &(&'a Given, &'a Latent)| NewRow {
                latent: &l.latent,
                labels: &given.labels,
                time_delta_ns: 0,
                start_sample: l.start,
                flags: given.flags,
            };
            let new: Vec<NewRow<'_>> = rows.iter().map(new_row).collect();
            adapter.learn(&batch(said(rows[0].0), i + 1 == batches.len()), &new, Durability::Later)?;
            done.rows += rows.len() as u64;
        }
        done.recordings += 1;
        Ok(())
    }

    fn given<'a>(&self, recording: &'a Planned, start_sample: u64) -> Option<&'a Given> {
        match (&recording.given, self.old) {
            (WhatItIs::Whole(given), _) => Some(given),
            (WhatItIs::Rows(rows), Some(old)) => given_to(rows, old, self.new, start_sample),
            (WhatItIs::Rows(_), None) => None,
        }
    }
}

fn text(done: &Rebased) -> String {
    let mut text = match &done.adapter {
        Some(adapter) => {
            let (rows, recordings) = (counted(done.rows, "row"), counted(done.recordings, "recording"));
            format!("{}: learned {rows} of {recordings} again\n", adapter.display())
        }
        None => format!("{}: nothing made\n", done.from.display()),
    };
    text += &format!("rows before: {}\n", line(&done.before));
    if done.adapter.is_some() {
        text += &format!("rows now: {}\n", line(&done.now));
    }
    let mut fact = |n: u64, what: &str, said: &str| {
        if n > 0 {
            text += &format!("{} {said}\n", counted(n, what));
        }
    };
    fact(done.silent_windows, "silent window", "left out");
    fact(done.unlabelled_windows, "window", "between rows that are different things left out");
    let lost = &done.lost;
    fact(lost.live_rows, "row", "of live sound without a clip");
    fact(lost.recordings_without_clip, "recording", "without a clip in these folders");
    fact(lost.recordings_without_label, "recording", "with a clip, of which nothing tells any more what it is");
    if !lost.rows.is_empty() {
        text += &format!("rows that cannot be computed again: {}\n", line(&lost.rows));
    }
    done.unusable.iter().for_each(|u| text += &format!("could not be used: {u}\n"));
    text
}
