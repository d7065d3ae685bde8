//! `wheatear lab embed`: labelled embeddings of a folder of sounds as an `.npz` file, for other programs and for `lab run`.
//! The scales of the backbone's manifest do not go along: whoever reads the file works out scales of its own.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use npyz::npz::NpzWriter;
use npyz::{DType, WriterBuilder};
use wheatear::{Error, Result};

use super::audio::embed_folder;
use super::data::Data;
use crate::embed::{BackboneArgs, ConfigArgs};

#[derive(Debug, ClapArgs)]
pub struct EmbedArgs {
    /// Sounds: one sub-folder a class
    #[arg(long, value_name = "FOLDER")]
    audio: PathBuf,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// File to write: X f32 (n, D), y integer (n), names (C), group (n)
    #[arg(long, value_name = "FILE.npz")]
    out: PathBuf,
}

/// Runs `wheatear lab embed`.
///
/// # Errors
/// Those of the sounds, the backbone and the file written.
pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let data = embed_folder(&args.audio, &args.backbone.choose(&args.config.load()?)?)?;
    write(&data, &args.out)?;
    log::info!("{}: {} rows of {} classes, D = {}", args.out.display(), data.rows(), data.names.len(), data.dim);
    Ok(())
}

/// Writes embeddings, labels, class names and groups.
fn write(data: &Data, path: &Path) -> Result<()> {
    let names: Vec<String> = data.names.iter().map(|c| c.to_string()).collect();
    let (n, d) = (data.rows() as u64, data.dim as u64);
    let written = || -> std::io::Result<()> {
        let mut zip = NpzWriter::create(path)?;
        array(&mut zip, "X", "<f4", &[n, d], data.x.iter().copied())?;
        array(&mut zip, "y", "<i8", &[n], data.y.iter().map(|y| *y as i64))?;
        array(&mut zip, "names", &text_type(&names), &[names.len() as u64], names.iter().cloned())?;
        array(&mut zip, "group", &text_type(&data.group), &[n], data.group.iter().cloned())
    };
    written().map_err(|e| Error::io("write", path, e))
}

fn array<T: npyz::Serialize, W: Write + Seek>(
    zip: &mut NpzWriter<W>,
    name: &str,
    kind: &str,
    shape: &[u64],
    values: impl Iterator<Item = T>,
) -> std::io::Result<()> {
    let kind = DType::Plain(kind.parse().map_err(std::io::Error::other)?);
    let mut array = zip.array::<T>(name, Default::default())?.dtype(kind).shape(shape).begin_nd()?;
    array.extend(values)?;
    array.finish()
}

/// numpy's type of fixed-width text that holds each of `texts`.
fn text_type(texts: &[String]) -> String {
    format!("<U{}", texts.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheatear::backbone::manifest::EmbeddingScale;

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        let names = ["wren", "zaunkönig"].map(String::from);
        let group = ["a/1.wav", "a/2.wav", "b/1.wav", "b/20.wav"].map(String::from).to_vec();
        let x = vec![0.9, 1.0, -1.1, 0.0, 0.5, 2.0, 0.3, -2.0];
        let data = Data::new("t", 2, x, &[0, 0, 1, 1], &names, group, EmbeddingScale::SqrtDim).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.npz");
        write(&data, &path).unwrap();
        let again = Data::from_npz(&path).unwrap();
        assert_eq!((&again.y, &again.names, &again.group, again.dim), (&data.y, &data.names, &data.group, 2));
        assert!(again.x.iter().zip(&data.x).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", again.x);
        let nowhere = write(&data, &folder.path().join("none/t.npz")).unwrap_err();
        assert!(nowhere.to_string().contains("none/t.npz"), "{nowhere}");
    }
}
