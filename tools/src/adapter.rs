//! The adapter that a command teaches: opened, or made where there is none.

use std::path::Path;

use clap::Args as ClapArgs;
use wheatear::backbone::manifest::Manifest;
use wheatear::board::Board;
use wheatear::config::Config;
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::Origin;
use wheatear::store::{Access, Adapter, Creation, Header};
use wheatear::{Error, ErrorKind, Result};

use crate::board::{check_size, tell_large};
use crate::clock;
use crate::embed::BackboneChoice;
use crate::opened::tell_size;

/// Bounds of an adapter that is made.
#[derive(Debug, Clone, ClapArgs)]
pub struct NewAdapterArgs {
    /// Bits of a latent component in a new adapter, 4 to 8; without it the manifest's
    #[arg(long, value_parser = clap::value_parser!(u8).range(4..=8))]
    latent_bits: Option<u8>,
    /// Rows that a new adapter's replay can hold; without it 16384
    #[arg(long, value_name = "ROWS")]
    replay_rows: Option<u32>,
    /// Classes that a new adapter can hold; without it 256
    #[arg(long, value_name = "CLASSES")]
    max_classes: Option<u32>,
    /// Device that a new adapter learns on, 32 hexadecimal digits; without it a random one
    #[arg(long, value_name = "HEX", value_parser = device_id)]
    device: Option<[u8; 16]>,
}

fn device_id(text: &str) -> Result<[u8; 16], String> {
    let digits: Option<Vec<u8>> = (0..16).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    digits.filter(|_| text.len() == 32).and_then(|d| d.try_into().ok()).ok_or_else(|| "32 hexadecimal digits".to_owned())
}

impl NewAdapterArgs {
    /// Sets in `config` what the command line says.
    pub fn set(&self, config: &mut Config) {
        let adapter = &mut config.adapter;
        adapter.latent_bits = self.latent_bits.or(adapter.latent_bits);
        adapter.replay_rows = self.replay_rows.or(adapter.replay_rows);
        adapter.max_classes = self.max_classes.or(adapter.max_classes);
    }

    /// Device that a new adapter learns on, where the command line names one.
    pub fn device(&self) -> Option<[u8; 16]> {
        self.device
    }

    /// The adapter in `folder` for `backbone`, made with room for twice so many recordings where there is none.
    ///
    /// # Errors
    /// `Mismatch` when it is of another backbone or width; `Config` when a bound is out of range; `Limit` when it would be too large for
    /// the board, of which one that is there already is only warned; those of opening and making.
    pub fn open_or_create(
        &self,
        config: &Config,
        board: Option<&Board>,
        folder: &Path,
        backbone: &BackboneChoice,
        manifest: &Manifest,
        sounds: usize,
    ) -> Result<Adapter> {
        let bits_wanted = self.latent_bits.or(config.adapter.latent_bits);
        let is_there = || std::fs::read_dir(folder).is_ok_and(|mut d| d.next().is_some());
        let open = || {
            let adapter = crate::opened::open(folder, Access::Write)?;
            let bits = adapter.header().creation.bits;
            if bits_wanted.is_some_and(|b| b != bits) {
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
        let quantiser = Quantiser::from_manifest(manifest, bits_wanted)?;
        // A new adapter is bound to its backbone: one that does not load must not leave an adapter behind.
        backbone.check()?;
        let origin =
            Origin { device: self.device.unwrap_or(clock::random_bytes()?), incarnation: u64::from_le_bytes(clock::random_bytes()?) };
        let space = SpaceId::of(manifest, bits_wanted)?;
        let bounds = Creation::new(space, &manifest.name, manifest.embedding.dim, quantiser.bits(), quantiser.scale().to_vec(), origin);
        let replay_rows = self.replay_rows.or(config.adapter.replay_rows).unwrap_or(bounds.replay_rows);
        let bounds = bounds.with_replay_rows(replay_rows);
        let creation = Creation {
            undo_rows: config.adapter.undo_rows.unwrap_or(bounds.undo_rows),
            background_rows: config.adapter.background_rows.unwrap_or(bounds.background_rows),
            modality: manifest.modality,
            created: clock::now(),
            max_classes: self.max_classes.or(config.adapter.max_classes).unwrap_or(bounds.max_classes),
            max_sources: bounds.max_sources.max(u32::try_from(2 * sounds).unwrap_or(u32::MAX)),
            seed: u64::from_le_bytes(clock::random_bytes()?),
            ..bounds
        };
        Header::new(creation.clone(), [0; 16]).map_err(|e| {
            e.cure("give another value: on the command line (--replay-rows, --max-classes), or under [adapter] in --config")
        })?;
        check_size(board, &creation)?;
        tell_size(&creation)?;
        match Adapter::create(folder, creation, clock::random_bytes()?) {
            // Another process made it in the meantime.
            Err(_) if is_there() => open(),
            created => created,
        }
    }
}
