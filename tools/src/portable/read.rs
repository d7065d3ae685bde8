//! Reading a dump. It comes from anywhere: everything is checked before anything is made of it.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wheatear::latent::SpaceId;
use wheatear::learn::Origin;
use wheatear::store::{Anew, Creation, Header, Learned, OriginState, Statistics};
use wheatear::{Error, ErrorKind, Result};

use super::json::{Json, digits};
use super::{ADAPTER, FORMAT, ROWS, STATISTICS, rows, statistics};

/// Longest text that a dump may name the backbone with.
const NAME_LEN_MAX_BYTES: usize = 1024;
/// Counters that only grow must have room to.
const COUNT_MAX: u64 = 1 << 62;

/// What goes into an adapter.
pub struct Contents {
    /// Everything but the rows.
    pub anew: Anew,
    /// The rows, by batch.
    pub records: Vec<Learned>,
    /// Who learned there when the dump was written.
    pub dumped_by: Origin,
}

/// Reads the dump in `folder`, for the device that goes on as `incarnation`.
///
/// # Errors
/// `Missing` when there is none; `Mismatch` when a newer version wrote it, or its files do not belong together; `Input` when
/// what it says is impossible.
pub fn read(folder: &Path, incarnation: u64) -> Result<Contents> {
    let json = json(folder)?;
    let file = |name: &str| bytes(folder, name, &json);
    let wrong = |e: Error| match e.kind() {
        ErrorKind::Input => e.cure("make the dump again: wheatear dump"),
        _ => e,
    };
    check(&json).map_err(wrong)?;
    if json.files.len() != 2 {
        return Err(Error::new(ErrorKind::Input, "a dump has two files of tensors").at(ADAPTER).found(json.files.len()));
    }
    let statistics = statistics::read(&file(STATISTICS)?, &json).map_err(wrong)?;
    let records = rows::read(&file(ROWS)?, &json).map_err(wrong)?;
    statistics::check_hold(&statistics, &records, json.dim as usize).map_err(wrong)?;
    let sources = json.sources.iter().map(|s| s.pair()).collect();
    let (origins, dumped_by) = origins(&json, &statistics, incarnation).map_err(wrong)?;
    let creation = creation(&json, &origins);
    Header::new(creation.clone(), [0; 16])
        .map_err(|e| wrong(Error::new(ErrorKind::Input, "an adapter cannot be so").at(ADAPTER).found(&e).because(e)))?;
    let anew = Anew {
        creation,
        statistics,
        origins,
        sources,
        next_row: json.next_row,
        taken_back: json.taken_back,
        generation: json.generation + 1,
    };
    Ok(Contents { anew, records, dumped_by })
}

fn json(folder: &Path) -> Result<Json> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let path = folder.join(ADAPTER);
    let text = std::fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::io("open the dump", &path, e).cure("name a folder that wheatear dump has written"),
        _ => Error::io("open the dump", &path, e),
    })?;
    let bad = |e: serde_json::Error| {
        let said = e.to_string();
        Error::new(ErrorKind::Input, "the dump cannot be read")
            .at(path.display())
            .found(said)
            .because(e)
            .cure("make it again: wheatear dump")
    };
    // The number comes first: a later form may have other keys.
    let Format { format } = serde_json::from_slice(&text).map_err(bad)?;
    if format != FORMAT {
        let other = Error::new(ErrorKind::Mismatch, "the dump has another form").at(path.display());
        return Err(other.expected(FORMAT).found(format).cure("update wheatear, or dump with the same version"));
    }
    serde_json::from_slice(&text).map_err(bad)
}

/// The file `name`, compared with its digest.
fn bytes(folder: &Path, name: &str, json: &Json) -> Result<Vec<u8>> {
    let path = folder.join(name);
    let expected = json.files.get(name).ok_or_else(|| Error::new(ErrorKind::Input, "a file has no digest").at(ADAPTER).found(name))?;
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let found = digits(&Sha256::digest(&bytes));
    if found != expected.to_ascii_lowercase() {
        return Err(Error::new(ErrorKind::Mismatch, "a file of the dump has another digest")
            .at(path.display())
            .expected(format!("sha256 {expected}"))
            .found(format!("sha256 {found}"))
            .cure("copy the dump again"));
    }
    Ok(bytes)
}

fn check(json: &Json) -> Result<()> {
    let bad = |what: &str, expected: String, found: String| {
        Error::new(ErrorKind::Input, format!("{what} is impossible")).at(ADAPTER).expected(expected).found(found)
    };
    if json.backbone.len() > NAME_LEN_MAX_BYTES {
        return Err(bad("backbone", format!("at most {NAME_LEN_MAX_BYTES} bytes"), json.backbone.len().to_string()));
    }
    if !(1..=8192).contains(&json.dim) || !(4..=8).contains(&json.bits) {
        return Err(bad("dim or bits", "1 to 8192, 4 to 8".into(), format!("{}, {}", json.dim, json.bits)));
    }
    for (what, n) in [("generation", json.generation), ("next_row", json.next_row)] {
        if n > COUNT_MAX {
            return Err(bad(what, format!("at most {COUNT_MAX}"), n.to_string()));
        }
    }
    let known: HashSet<u64> = json.sources.iter().map(|s| s.pair().0).collect();
    if known.len() != json.sources.len() || known.contains(&0) || known.len() > json.bounds.max_sources as usize {
        return Err(bad("sources", format!("each once, at most {}, none 0", json.bounds.max_sources), json.sources.len().to_string()));
    }
    let different: HashSet<Origin> = json.origins.iter().map(|o| o.origin()).collect();
    let own = json.origins.iter().filter(|o| o.own).count();
    let parity = json.origins.iter().flat_map(|o| o.parity).all(|p| p.is_finite() && p >= 0.0);
    if different.len() != json.origins.len() || own != 1 || !parity {
        return Err(bad(
            "origins",
            "each once, one of them own, parity at least 0".into(),
            format!("{} origins, {own} own", json.origins.len()),
        ));
    }
    Ok(())
}

/// The origins that the blocks have, none of which learns on, and the new one that does; and which one did.
fn origins(json: &Json, statistics: &Statistics, incarnation: u64) -> Result<(Vec<OriginState>, Origin)> {
    let own = json.origins.iter().find(|o| o.own).map(|o| o.origin());
    let dumped_by = own.ok_or_else(|| Error::new(ErrorKind::Input, "no origin is the adapter's own").at(ADAPTER))?;
    let next = Origin { incarnation, ..dumped_by };
    let state = |o: &super::json::Learner| OriginState { origin: o.origin(), generation: o.generation, parity: o.parity, own: false };
    let has_blocks = |o: &OriginState| statistics.keys().any(|(origin, _)| *origin == o.origin);
    let mut all: Vec<OriginState> = json.origins.iter().map(state).filter(has_blocks).collect();
    if json.origins.iter().any(|o| o.origin() == next) {
        return Err(Error::new(ErrorKind::Input, "this incarnation has learned there before")
            .at(next)
            .cure("try again: a new one is drawn"));
    }
    all.push(OriginState { origin: next, generation: 0, parity: None, own: true });
    Ok((all, dumped_by))
}

/// What the adapter is bound to. It may hold one origin more than before when the new one would be too many.
fn creation(json: &Json, origins: &[OriginState]) -> Creation {
    let scale = json.scale.iter().map(|s| *s as f32).collect();
    let own = origins.iter().find(|o| o.own).map_or(origins[0].origin, |o| o.origin);
    let bounds = &json.bounds;
    Creation {
        modality: json.modality,
        created: json.created.moment(),
        replay_rows: bounds.replay_rows,
        undo_rows: bounds.undo_rows,
        background_rows: bounds.background_rows,
        max_classes: bounds.max_classes,
        max_origins: bounds.max_origins.max(u32::try_from(origins.len()).unwrap_or(u32::MAX)),
        max_sources: bounds.max_sources,
        seed: u64::from_be_bytes(json.seed),
        ..Creation::new(SpaceId(json.space), &json.backbone, json.dim, json.bits, scale, own)
    }
}
