//! Reading and writing ONNX files.
//!
//! A model is at most 2 GiB, protobuf's own limit, weights included; nesting (subgraphs, types) is bounded by the
//! decoder at 100 messages, about 30 subgraphs deep. Both give an error, never a crash.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use prost::Message;
use wheatear::{Error, ErrorKind, Result};

use super::proto::ModelProto;

/// Largest model read or written, in bytes.
pub const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;

/// Reads an ONNX file; weights in other files are left there (see [`super::external::embed`]).
///
/// # Errors
/// `Missing` or `Storage` when it cannot be read, `Limit` above [`MAX_MODEL_BYTES`], `Input` when it is not ONNX.
pub fn read(path: &Path) -> Result<ModelProto> {
    let file = File::open(path).map_err(|e| Error::io("open the model", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read the model", path, e))?.len();
    check_size(length).map_err(|e| e.at(path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_MODEL_BYTES).read_to_end(&mut bytes).map_err(|e| Error::io("read the model", path, e))?;
    decode(&bytes).map_err(|e| e.at(path.display()))
}

/// Decodes a model and checks that it is one: a graph with outputs, and an operator set.
///
/// # Errors
/// `Input` with what is wrong.
pub fn decode(bytes: &[u8]) -> Result<ModelProto> {
    let wrong = |what: &str, found: String| {
        Error::new(ErrorKind::Input, what).found(found).cure("give a complete .onnx file; download or export it again if it was cut short")
    };
    if bytes.is_empty() {
        return Err(wrong("not an ONNX model", "the file is empty".into()));
    }
    let model = ModelProto::decode(bytes).map_err(|e| {
        let start: String = bytes.iter().take(8).map(|b| format!("{b:02x} ")).collect();
        wrong("not an ONNX model, or a damaged one", format!("{} bytes starting {}: {e}", bytes.len(), start.trim_end())).because(e)
    })?;
    let Some(graph) = &model.graph else {
        return Err(wrong("not an ONNX model, or a damaged one", "it holds no graph".into()));
    };
    if graph.output.is_empty() {
        return Err(wrong("the ONNX model has no outputs", format!("{} nodes", graph.node.len())));
    }
    if model.opset_import.is_empty() {
        return Err(wrong("not a complete ONNX model", "it names no operator set".into()));
    }
    let kept = model.encoded_len();
    if kept < bytes.len() {
        log::warn!(
            "{} bytes of the model are in fields newer than this program (or packed otherwise) and are not kept",
            bytes.len() - kept
        );
    }
    Ok(model)
}

/// Encodes a model.
///
/// # Errors
/// `Limit` above [`MAX_MODEL_BYTES`].
pub fn encode(model: &ModelProto) -> Result<Vec<u8>> {
    check_size(model.encoded_len() as u64)?;
    Ok(model.encode_to_vec())
}

/// Writes `bytes` to `path` in one step: a reader sees the old file or the whole new one.
///
/// # Errors
/// `Storage` as from the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&part);
        Error::io("write", path, e)
    })
}

fn check_size(length: u64) -> Result<()> {
    if length > MAX_MODEL_BYTES {
        return Err(Error::new(ErrorKind::Limit, "the model is too large for an ONNX file")
            .expected(format!("at most {MAX_MODEL_BYTES} bytes"))
            .found(length)
            .cure("cut it at an earlier tensor, or use a smaller model"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::testing::{if_classifier, mlp_classifier};

    #[test]
    fn a_model_survives_decoding_and_encoding_byte_for_byte() {
        for model in [mlp_classifier(), if_classifier()] {
            let bytes = encode(&model).unwrap();
            let again = decode(&bytes).unwrap();
            assert_eq!(again, model);
            assert_eq!(encode(&again).unwrap(), bytes);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_read_or_refused_but_never_panics() {
        let bytes = encode(&if_classifier()).unwrap();
        let mut refused = 0;
        for n in 0..bytes.len() {
            refused += usize::from(decode(&bytes[..n]).is_err());
        }
        assert!(refused > bytes.len() * 9 / 10, "{refused} of {}", bytes.len());
        for i in 0..bytes.len() {
            for bit in [0x01, 0x08, 0x80] {
                let mut broken = bytes.clone();
                broken[i] ^= bit;
                if let Ok(model) = decode(&broken) {
                    crate::onnx::testing::exercise(model);
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_model_is_named_with_its_first_bytes() {
        for (bytes, found) in [(&b""[..], "empty"), (&b"RIFF\x24\x00\x00\x00WAVE"[..], "52 49 46 46"), (&b"\x08\x08"[..], "no graph")] {
            let e = decode(bytes).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Input);
            assert!(e.to_string().contains(found), "{e}");
        }
    }

    #[test]
    fn bottomless_nesting_is_refused() {
        // A graph whose type is a sequence of sequences of ...: each level is one length-prefixed message inside another.
        let mut inner: Vec<u8> = Vec::new();
        for _ in 0..5000 {
            let mut outer = vec![0x22]; // TypeProto.sequence_type
            prost::encode_length_delimiter(inner.len() + 1 + prost::length_delimiter_len(inner.len()), &mut outer).unwrap();
            outer.push(0x0a); // Sequence.elem_type
            prost::encode_length_delimiter(inner.len(), &mut outer).unwrap();
            outer.extend(&inner);
            inner = outer;
        }
        let e = super::super::proto::TypeProto::decode(&inner[..]).unwrap_err();
        assert!(e.to_string().contains("recursion"), "{e}");
    }
}
