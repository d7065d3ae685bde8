//! The adapter that is taught: opened, or made where there is none, no larger than the board gives it.

use std::path::{Path, PathBuf};

use super::backbone::BackboneChoice;
use crate::backbone::manifest::Manifest;
use crate::board::Board;
use crate::config::Config;
use crate::latent::{Quantiser, SpaceId};
use crate::learn::Origin;
use crate::random::random_bytes;
use crate::store::{Access, Adapter, Creation, Header, Recovery};
use crate::{Error, ErrorKind, Result, clock};

/// The adapter's folder, from `config`.
///
/// # Errors
/// `Config` when it names none.
pub fn adapter_folder(config: &Config) -> Result<PathBuf> {
    config.adapter.folder.clone().ok_or_else(|| {
        Error::new(ErrorKind::Config, "no adapter is named").cure("give adapter.folder in --config FILE.toml, or wheatear --adapter FOLDER")
    })
}

/// Opens the adapter in `folder`, and warns of what had to be rolled back; of damaged chunks the store warns itself.
///
/// # Errors
/// As [`Adapter::open`].
pub fn open(folder: &Path, access: Access) -> Result<Adapter> {
    let adapter = Adapter::open(folder, access)?;
    if adapter.recovery() != Recovery::Clean {
        log::warn!("{}: {}", folder.display(), adapter.recovery());
    }
    Ok(adapter)
}

/// The adapter in `folder` for `backbone`; where there is none it is made as `config` says, with room for twice so many recordings, to learn
/// on `device`, or on one of a random name.
///
/// # Errors
/// `Mismatch` when it is of another backbone or width; `Config` when a bound is out of range; `Limit` when it would be too large for the
/// board, of which one that is there already is only warned; those of opening and making.
pub fn open_or_create(
    config: &Config,
    board: Option<&Board>,
    folder: &Path,
    (backbone, manifest): (&BackboneChoice, &Manifest),
    device: Option<[u8; 16]>,
    recordings: usize,
) -> Result<Adapter> {
    let wanted = &config.adapter;
    let is_there = || std::fs::read_dir(folder).is_ok_and(|mut d| d.next().is_some());
    let open = || {
        let adapter = open(folder, Access::Write)?;
        let bits = adapter.header().creation.bits;
        if wanted.latent_bits.is_some_and(|b| b != bits) {
            return Err(Error::new(ErrorKind::Mismatch, "the adapter has latents of another width")
                .at(folder.display())
                .expected(format!("{bits} bits"))
                .cure("leave out --latent-bits, or teach a new adapter"));
        }
        adapter.check_space(SpaceId::of(manifest, Some(bits))?, &manifest.name)?;
        tell_large(board, &adapter);
        Ok(adapter)
    };
    if is_there() {
        return open();
    }
    let quantiser = Quantiser::from_manifest(manifest, wanted.latent_bits)?;
    // A new adapter is bound to its backbone: one that does not load must not leave an adapter behind.
    backbone.check()?;
    let origin = Origin { device: device.map_or_else(random_bytes, Ok)?, incarnation: u64::from_le_bytes(random_bytes()?) };
    let space = SpaceId::of(manifest, wanted.latent_bits)?;
    let bounds = Creation::new(space, &manifest.name, manifest.embedding.dim, quantiser.bits(), quantiser.scale().to_vec(), origin);
    let bounds = match wanted.replay_rows {
        Some(rows) => bounds.with_replay_rows(rows),
        None => bounds,
    };
    let creation = Creation {
        undo_rows: wanted.undo_rows.unwrap_or(bounds.undo_rows),
        background_rows: wanted.background_rows.unwrap_or(bounds.background_rows),
        modality: manifest.modality,
        created: clock::now(),
        max_classes: wanted.max_classes.unwrap_or(bounds.max_classes),
        max_sources: bounds.max_sources.max(u32::try_from(2 * recordings).unwrap_or(u32::MAX)),
        seed: u64::from_le_bytes(random_bytes()?),
        ..bounds
    };
    let header = Header::new(creation.clone(), [0; 16])
        .map_err(|e| e.cure("give another value: on the command line (--replay-rows, --max-classes), or under [adapter] in --config"))?;
    check_size(board, &header)?;
    let mib = size_mib(&header);
    log::info!("new adapter in {}: {mib:.1} MiB of disk, taken now and never more", folder.display());
    match Adapter::create(folder, creation, random_bytes()?) {
        // Another process made it in the meantime.
        Err(_) if is_there() => open(),
        created => created,
    }
}

/// Size of an adapter's files, in MiB.
pub fn size_mib(header: &Header) -> f64 {
    (header.chunk_file_len_bytes() + header.state_file_len_bytes()) as f64 / f64::from(1 << 20)
}

/// Refuses an adapter that is too large for `board`.
///
/// # Errors
/// `Limit` with what it takes.
pub fn check_size(board: Option<&Board>, header: &Header) -> Result<()> {
    let Some(board) = board.filter(|b| size_mib(header) > f64::from(b.adapter_mib)) else { return Ok(()) };
    let creation = &header.creation;
    Err(Error::new(ErrorKind::Limit, "the adapter would be larger than the board gives it")
        .at(&board.name)
        .expected(format!("at most {} MiB (adapter_mib)", board.adapter_mib))
        .found(format!("{:.1} MiB, for {} rows in replay and {} classes", size_mib(header), creation.replay_rows, creation.max_classes))
        .cure("give fewer --replay-rows or --max-classes, or fewer --latent-bits"))
}

/// Warns when `adapter`, which is there already, is larger than `board` gives it.
pub fn tell_large(board: Option<&Board>, adapter: &Adapter) {
    let Some(board) = board.filter(|b| size_mib(adapter.header()) > f64::from(b.adapter_mib)) else { return };
    log::warn!(
        "{}: it takes {:.1} MiB, the board {} gives an adapter {} (adapter_mib): teach a new one with fewer --replay-rows, or raise \
         adapter_mib in the board's file",
        adapter.folder().display(),
        size_mib(adapter.header()),
        board.name,
        board.adapter_mib
    );
}
