//! Labelled embeddings from a folder of sounds with one sub-folder a class.

use std::path::Path;

use wheatear::{Error, ErrorKind, Result};

use super::data::Data;

/// Embeds every window of every sound below `folder` (the sub-folder's name is the class) with the backbone in
/// `backbone`: rows are windows in the order of their files' names, the group of a row is its file, and the scale is
/// that of the manifest's quantiser.
///
/// # Errors
/// `Missing` in a build without an embedder.
pub fn embed_folder(folder: &Path, backbone: &Path) -> Result<Data> {
    Err(Error::new(ErrorKind::Missing, "this build cannot embed sounds")
        .at(folder.display())
        .found(format!("backbone {}", backbone.display()))
        .cure("give embeddings instead: --embeddings FILE.npz"))
}
