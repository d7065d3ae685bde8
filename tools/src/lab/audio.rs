//! Labelled embeddings from a folder of sounds with one sub-folder a class.

use std::path::{Path, PathBuf};

use wheatear::backbone::manifest::EmbeddingScale;
use wheatear::latent::Quantiser;
use wheatear::learn::BlockKind;
use wheatear::pipeline::Window;
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;
use crate::embed::{BackboneChoice, embed_files, progress};
use crate::sounds::{Labelled, labelled_in};
use wheatear::learn::label_text;

/// Embeds every window of every sound below `folder` with a backbone: rows are windows in the order of their class and
/// file, the group of a row is its file, and the scale is that of the manifest's quantiser. Silent windows are left out.
///
/// # Errors
/// Those of the folder, the backbone and its manifest; `Input` when a sound cannot be read, naming it.
pub fn embed_folder(folder: &Path, backbone: &BackboneChoice) -> Result<Data> {
    let sounds = labelled_in(folder)?;
    let manifest = backbone.manifest()?;
    let quantiser = Quantiser::from_manifest(&manifest, Some(8))?;
    let silence = manifest.silence_peak();
    if let Some(other) = sounds.iter().find(|s| s.labels.block_kind() != BlockKind::Latents) {
        let error = Error::new(ErrorKind::Input, "a sound is not of exactly one class").at(other.path.display());
        return Err(error.found(label_text::text(&other.labels)).cure("leave it out"));
    }
    let class = |s: &Labelled| s.labels.positive().first().map_or(String::new(), ToString::to_string);
    let mut names: Vec<String> = sounds.iter().map(class).collect();
    names.dedup();
    let files: Vec<PathBuf> = sounds.iter().map(|s| s.path.clone()).collect();
    let dim = quantiser.dim();
    let (mut x, mut y, mut group) = (Vec::new(), Vec::new(), Vec::new());
    let bar = progress("embedding", files.len());
    let keep_sounding = || |w: &Window<'_>| Ok((w.peak >= silence).then(|| w.embedding.to_vec()));
    embed_files(backbone, &files, keep_sounding, |i, got| {
        let got = got?;
        let class = names.iter().position(|n| *n == class(&sounds[i])).unwrap_or(0);
        let file = files[i].strip_prefix(folder).unwrap_or(&files[i]).display().to_string();
        for embedding in got.windows.iter().flatten() {
            x.extend_from_slice(embedding);
            y.push(class as i128);
            group.push(file.clone());
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    let name = folder.file_name().map_or_else(|| "sounds".to_owned(), |n| n.to_string_lossy().into_owned());
    if y.is_empty() {
        return Err(Error::new(ErrorKind::Input, "every sound in the folder is silent").at(folder.display()));
    }
    let mut data = Data::new(&name, dim, x, &y, &names, group, EmbeddingScale::None)?;
    data.scale = Some(quantiser.scale().to_vec());
    Ok(data)
}
