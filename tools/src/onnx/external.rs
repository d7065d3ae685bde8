//! Weights that lie in files beside the model (`data_location = EXTERNAL`): read and embedded.
//!
//! A location is a relative path inside the model's folder; anything that leads out of it (`..`, absolute paths,
//! symbolic links) is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use wheatear::{Error, ErrorKind, Result};

use super::file::MAX_MODEL_BYTES;
use super::graph::for_each_tensor_mut;
use super::proto::{ModelProto, TensorProto};

/// Embeds all external weights of `model`, which was read from a file in `folder`; returns how many bytes.
///
/// # Errors
/// `Missing` when a file is not there, `Input` when a location leads out of the folder or a range lies outside its
/// file, `Limit` when the whole model would exceed [`MAX_MODEL_BYTES`].
pub fn embed(model: &mut ModelProto, folder: &Path) -> Result<u64> {
    let mut total = 0u64;
    let mut first_error = None;
    for_each_tensor_mut(model, &mut |tensor| {
        if first_error.is_none() && tensor.is_external() {
            match load(tensor, folder, MAX_MODEL_BYTES - total) {
                Ok(bytes) => {
                    total += bytes.len() as u64;
                    tensor.raw_data = Some(bytes);
                    tensor.external_data.clear();
                    tensor.data_location = None;
                }
                Err(e) => first_error = Some(e),
            }
        }
    });
    first_error.map_or(Ok(total), Err)
}

fn load(tensor: &TensorProto, folder: &Path, room: u64) -> Result<Vec<u8>> {
    let name = tensor.name().to_string();
    let entries: BTreeMap<&str, &str> = tensor.external_data.iter().map(|e| (e.key(), e.value())).collect();
    let location = entries.get("location").copied().unwrap_or("");
    let path = inside(folder, location).map_err(|e| e.at(format!("weights '{name}'")))?;
    let mut file = File::open(&path).map_err(|e| {
        Error::io("open the model's external weights", &path, e)
            .cure("put the weight files beside the .onnx file, under the names they were saved with")
    })?;
    let size = file.metadata().map_err(|e| Error::io("read the model's external weights", &path, e))?.len();
    let number = |key: &str, or: u64| -> Result<u64> {
        entries.get(key).map_or(Ok(or), |v| {
            v.parse().map_err(|_| {
                Error::new(ErrorKind::Input, "external weights have an unreadable range").at(format!("'{name}', {key}")).found(*v)
            })
        })
    };
    let offset = number("offset", 0)?;
    let length = number("length", size.saturating_sub(offset))?;
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(Error::new(ErrorKind::Input, "external weights lie outside their file")
            .at(path.display())
            .expected(format!("'{name}' at {offset}, {length} bytes"))
            .found(format!("a file of {size} bytes"))
            .cure("the weight file is cut short or belongs to another model: fetch it again"));
    }
    if length > room {
        return Err(Error::new(ErrorKind::Limit, "the model with its external weights is too large for one ONNX file")
            .expected(format!("at most {MAX_MODEL_BYTES} bytes"))
            .cure("use a smaller model"));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length).read_to_end(&mut bytes)).map_err(|e| Error::io("read", &path, e))?;
    if bytes.len() as u64 != length {
        return Err(Error::new(ErrorKind::Input, "external weights changed while they were read").at(path.display()));
    }
    Ok(bytes)
}

fn inside(folder: &Path, location: &str) -> Result<PathBuf> {
    let refuse = || {
        Error::new(ErrorKind::Input, "external weights lead out of the model's folder")
            .expected("a file name beside the model")
            .found(format!("'{location}'"))
            .cure("use a model from a source you trust, or save it again with its weights beside it")
    };
    let relative = Path::new(location);
    if location.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(refuse());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(relative);
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(real), Ok(root)) if !real.starts_with(&root) => Err(refuse()),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{DataLocation, StringStringEntryProto};
    use crate::onnx::testing::mlp_classifier;

    fn externalise(model: &mut ModelProto, location: &str, offset: &str, length: Option<&str>) -> Vec<u8> {
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        let bytes = tensor.raw_data.take().unwrap();
        let entry = |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
        tensor.external_data = vec![entry("location", location), entry("offset", offset)];
        tensor.external_data.extend(length.map(|l| entry("length", l)));
        tensor.data_location = Some(DataLocation::External as i32);
        bytes
    }

    #[test]
    fn external_weights_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let original = mlp_classifier();
        let mut model = original.clone();
        let bytes = externalise(&mut model, "weights.bin", "4096", None);
        let mut file = vec![7u8; 4096];
        file.extend(&bytes);
        std::fs::write(folder.path().join("weights.bin"), file).unwrap();
        assert_eq!(embed(&mut model, folder.path()).unwrap(), bytes.len() as u64);
        assert_eq!(model, original);
    }

    #[test]
    fn locations_outside_the_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.bin")).unwrap();
        for location in ["../weights.bin", "/etc/passwd", "a/../../b", "", "link.bin"] {
            let mut model = mlp_classifier();
            externalise(&mut model, location, "0", None);
            let e = embed(&mut model, folder.path()).unwrap_err();
            assert!(e.kind() == ErrorKind::Input && e.to_string().contains("lead out"), "{location}: {e}");
        }
    }

    #[test]
    fn ranges_outside_the_file_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [0; 16]).unwrap();
        for (offset, length, kind) in [
            ("8", Some("9"), ErrorKind::Input),
            ("18446744073709551615", Some("9"), ErrorKind::Input),
            ("-1", None, ErrorKind::Input),
            ("17", None, ErrorKind::Input),
        ] {
            let mut model = mlp_classifier();
            externalise(&mut model, "w.bin", offset, length);
            assert_eq!(embed(&mut model, folder.path()).unwrap_err().kind(), kind, "{offset} {length:?}");
        }
        let mut model = mlp_classifier();
        externalise(&mut model, "none.bin", "0", None);
        let e = embed(&mut model, folder.path()).unwrap_err();
        assert!(e.kind() == ErrorKind::Missing && e.to_string().contains("none.bin"), "{e}");
    }
}
