//! Writing an adapter's files: a folder that has `adapter.json`, which comes last, is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use wheatear::learn::Origin;
use wheatear::store::{Adapter, Anew};
use wheatear::{Error, ErrorKind, Result};

use super::json::{Bounds, Json, Learner, Source, When, digits};
use super::tensors::{self, Tensor};
use super::{ADAPTER, FORMAT, ROWS, STATISTICS, rows, statistics};

/// What was written.
#[derive(Debug, Serialize)]
pub struct Dumped {
    pub rows: usize,
    pub blocks: usize,
    pub bytes: u64,
    pub statistics_sha256: String,
    pub generation: u64,
}

/// Writes `adapter` into `folder`, which must not exist or be empty.
///
/// # Errors
/// `Input` when something is there; `Storage` when it cannot be written, and nothing is left then; those of reading.
pub fn write(adapter: &Adapter, folder: &Path) -> Result<Dumped> {
    let was_there = folder.is_dir();
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let mut list = std::fs::read_dir(folder).map_err(|e| Error::io("read the folder", folder, e))?;
    if list.next().is_some() {
        return Err(Error::new(ErrorKind::Input, "there is something in the dump's place already")
            .at(folder.display())
            .cure("choose another folder, or empty this one"));
    }
    let written = write_all(adapter, folder);
    if written.is_err() {
        [ADAPTER, ROWS, STATISTICS].iter().for_each(|name| drop(std::fs::remove_file(folder.join(name))));
        if !was_there {
            let _ = std::fs::remove_dir(folder);
        }
    }
    written
}

fn write_all(adapter: &Adapter, folder: &Path) -> Result<Dumped> {
    let Anew { origins: states, sources, next_row, taken_back, .. } = adapter.as_it_is();
    let origins: Vec<Origin> = states.iter().map(|o| o.origin).collect();
    let (rows, batches, labels) = rows::gather(adapter, &origins)?;
    let json = File::create(folder.join(ADAPTER)).map_err(|e| Error::io("create", folder.join(ADAPTER), e))?;
    let mut bytes = 0;
    let mut file = |name: &str, tensors: Vec<(String, Tensor<'_>)>| -> Result<(String, String)> {
        let path = folder.join(name);
        tensors::write(&path, tensors)?;
        let (len_bytes, digest) = finish(&path, &json)?;
        bytes += len_bytes;
        Ok((name.to_owned(), digest))
    };
    let files = BTreeMap::from([file(ROWS, rows.tensors())?, file(STATISTICS, statistics::tensors(adapter))?]);
    let creation = &adapter.header().creation;
    let statistics_sha256 = adapter.statistics_digest()?;
    let blocks = statistics::list(adapter, &origins);
    let all = Json {
        format: FORMAT,
        backbone: creation.backbone.clone(),
        modality: creation.modality,
        space: creation.space.0,
        dim: creation.dim,
        bits: creation.bits,
        scale: creation.scale.iter().map(|s| f64::from(*s)).collect(),
        created: When::of(creation.created),
        seed: creation.seed.to_be_bytes(),
        bounds: Bounds::of(creation),
        generation: adapter.generation(),
        next_row,
        taken_back,
        origins: states.iter().map(|o| Learner::of(o.origin, o.generation, o.parity, o.own)).collect(),
        classes: adapter.tally().into_keys().flatten().collect(),
        labels,
        batches,
        sources: sources.into_iter().map(Source::of).collect(),
        blocks,
        statistics_sha256,
        files,
    };
    let text = serde_json::to_string_pretty(&all).map_err(|e| Error::new(ErrorKind::Limit, "the dump cannot be written").because(e))?;
    let write =
        std::fs::write(folder.join(ADAPTER), text + "\n").and_then(|()| json.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    write.map_err(|e| Error::io("write", folder.join(ADAPTER), e))?;
    bytes += json.metadata().map_or(0, |m| m.len());
    let (rows, blocks, generation) = (rows.len(), all.blocks.len(), all.generation);
    Ok(Dumped { rows, blocks, bytes, statistics_sha256: digits(&statistics_sha256), generation })
}

/// Lets the file be read by whoever may read `like`, makes it durable, and returns its length and SHA-256.
fn finish(path: &Path, like: &File) -> Result<(u64, String)> {
    let failed = |e| Error::io("write", path, e);
    let mut file = File::open(path).map_err(failed)?;
    like.metadata().and_then(|m| file.set_permissions(m.permissions())).and_then(|()| file.sync_all()).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut block = vec![0u8; 1 << 16];
    let mut len_bytes = 0;
    loop {
        match std::io::Read::read(&mut file, &mut block).map_err(|e| Error::io("read", path, e))? {
            0 => return Ok((len_bytes, digits(&hash.finalize()))),
            n => {
                hash.update(&block[..n]);
                len_bytes += n as u64;
            }
        }
    }
}
