//! The blocks as tensors. They are read by way of their canonical form, so that every bound of a stored block is checked.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet, Origin};
use wheatear::store::{Adapter, Learned, Statistics};
use wheatear::{Error, ErrorKind, Result};

use super::STATISTICS;
use super::json::{Json, Sums};
use super::tensors::{Tensor, Tensors};

/// Kinds in the order in which the digest takes them, with their number in the canonical form.
const KINDS: [(BlockKind, u8); 3] = [(BlockKind::Latents, 0), (BlockKind::Mixed, 1), (BlockKind::Background, 2)];

/// What is said of each block of `adapter`, in order; `origins` are numbered as they stand.
pub fn list(adapter: &Adapter, origins: &[Origin]) -> Vec<Sums> {
    let sums = |(origin, block): (Origin, &Block)| Sums {
        origin: origins.iter().position(|o| *o == origin).unwrap_or(usize::MAX),
        kind: block.kind(),
        rows: block.rows(),
        classes: block.classes().keys().cloned().collect(),
    };
    adapter.blocks().map(sums).collect()
}

/// Sums and counts of each block.
pub fn tensors(adapter: &Adapter) -> Vec<(String, Tensor<'_>)> {
    let mut all = Vec::new();
    for (i, (_, block)) in adapter.blocks().enumerate() {
        let (d, c) = (block.dim(), block.classes().len());
        let classes = || block.classes().values();
        let mut put = |what: &str, tensor| all.push((format!("block.{i}.{what}"), tensor));
        put("sum", Tensor::new(&[d], block.sum()));
        put("gram", Tensor::new(&[block.gram().len()], block.gram()));
        put("class_sums", Tensor::rows(&[c, d], classes().map(|s| &s.sum[..])));
        put("class_rows", Tensor::rows(&[c], classes().map(|s| std::slice::from_ref(&s.n))));
        if block.kind() == BlockKind::Mixed {
            put("negative_sums", Tensor::rows(&[c, d], classes().map(|s| &s.negative_sum[..])));
            put("negative_rows", Tensor::rows(&[c], classes().map(|s| std::slice::from_ref(&s.negative_n))));
        }
    }
    all
}

/// The blocks in `bytes`, checked.
///
/// # Errors
/// `Input`, saying which block is wrong and how.
pub fn read(bytes: &[u8], json: &Json) -> Result<Statistics> {
    let mut tensors = Tensors::new(bytes, STATISTICS)?;
    let mut statistics = Statistics::new();
    for (i, sums) in json.blocks.iter().enumerate() {
        let at = format!("{STATISTICS}: block.{i}");
        let origin = json.origins.get(sums.origin).ok_or_else(|| Error::new(ErrorKind::Input, "a block names no origin").at(&at))?;
        let bytes = canonical(&mut tensors, i, sums, json.dim as usize)?;
        let block = Block::from_canonical_bytes(&bytes);
        let block = block.map_err(|e| Error::new(ErrorKind::Input, "statistics are impossible").at(&at).found(&e).because(e))?;
        if statistics.insert((origin.origin(), sums.kind), block).is_some() {
            return Err(Error::new(ErrorKind::Input, "an origin has two blocks of a kind").at(at));
        }
    }
    tensors.end()?;
    let classes: BTreeSet<&ClassName> = statistics.values().flat_map(|b| b.classes().keys()).collect();
    if !classes.iter().copied().eq(&json.classes) {
        return Err(Error::new(ErrorKind::Input, "the classes are not those of the blocks")
            .at(super::ADAPTER)
            .expected(format!("{classes:?}")));
    }
    if classes.len() > json.bounds.max_classes as usize {
        return Err(Error::new(ErrorKind::Input, "there are more classes than max_classes").at(super::ADAPTER).found(classes.len()));
    }
    if digest(&statistics)? != json.statistics_sha256 {
        return Err(Error::new(ErrorKind::Mismatch, "the statistics are not those that the dump was made of").at(super::ADAPTER));
    }
    Ok(statistics)
}

/// The canonical form of block `i` (see [`Block::to_canonical_bytes`]).
fn canonical(tensors: &mut Tensors<'_>, i: usize, sums: &Sums, d: usize) -> Result<Vec<u8>> {
    let c = sums.classes.len();
    let name = |what: &str| format!("block.{i}.{what}");
    let sum: Vec<i64> = tensors.take(&name("sum"), &[d])?;
    let gram: Vec<i64> = tensors.take(&name("gram"), &[d * (d + 1) / 2])?;
    let class_sums: Vec<i64> = tensors.take(&name("class_sums"), &[c, d])?;
    let class_rows: Vec<u64> = tensors.take(&name("class_rows"), &[c])?;
    let mixed = sums.kind == BlockKind::Mixed;
    let (negative_sums, negative_rows): (Vec<i64>, Vec<u64>) = match mixed {
        true => (tensors.take(&name("negative_sums"), &[c, d])?, tensors.take(&name("negative_rows"), &[c])?),
        false => (Vec::new(), Vec::new()),
    };
    let code = KINDS.iter().find(|(kind, _)| *kind == sums.kind).map_or(0, |(_, code)| *code);
    let mut out = b"WHBK\x01".to_vec();
    out.extend([code, 0, 0]);
    out.extend((d as u32).to_le_bytes());
    out.extend((c as u32).to_le_bytes());
    out.extend(sums.rows.to_le_bytes());
    let put = |out: &mut Vec<u8>, values: &[i64]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    put(&mut out, &sum);
    put(&mut out, &gram);
    for (k, class) in sums.classes.iter().enumerate() {
        out.extend((class.as_str().len() as u16).to_le_bytes());
        out.extend(class.as_str().as_bytes());
        out.extend(class_rows[k].to_le_bytes());
        put(&mut out, &class_sums[k * d..(k + 1) * d]);
        if mixed {
            out.extend(negative_rows[k].to_le_bytes());
            put(&mut out, &negative_sums[k * d..(k + 1) * d]);
        }
    }
    Ok(out)
}

/// The digest that an adapter with these blocks has.
fn digest(statistics: &Statistics) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for (kind, _) in KINDS {
        let mut blocks = statistics.iter().filter(|((_, k), _)| *k == kind).map(|(_, b)| b);
        let Some(mut sum) = blocks.next().cloned() else { continue };
        blocks.try_for_each(|b| sum.merge(b))?;
        hash.update(sum.to_canonical_bytes());
    }
    Ok(hash.finalize().into())
}

/// Checks that the statistics can hold the rows of `records`: what is left without them is possible, and is nothing where
/// none has left.
///
/// # Errors
/// `Input` when they do not.
pub fn check_hold(statistics: &Statistics, records: &[Learned], dim: usize) -> Result<()> {
    let mut held: BTreeMap<(Origin, BlockKind), (Vec<i8>, Vec<LabelSet>)> = BTreeMap::new();
    for record in records {
        for ((_, labels), latent) in record.rows.iter().zip(record.latents.chunks_exact(dim)) {
            let (latents, sets) = held.entry((record.batch.origin, labels.block_kind())).or_default();
            latents.extend_from_slice(latent);
            sets.push(labels.clone());
        }
    }
    for ((origin, kind), (latents, labels)) in held {
        let bad = || {
            let what = "the rows are not among those that the statistics count";
            Error::new(ErrorKind::Input, what).at(format!("{kind:?} rows of {origin}"))
        };
        let mut sums = Block::new(kind, dim)?;
        sums.add_chunk(&latents, &labels)?;
        let mut left = statistics.get(&(origin, kind)).cloned().ok_or_else(|| bad().found("no such statistics"))?;
        left.unmerge(&sums).map_err(|e| bad().found(&e).because(e))?;
    }
    Ok(())
}
