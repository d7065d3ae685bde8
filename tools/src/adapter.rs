//! The adapter that a command teaches: opened, or made where there is none.

use std::path::Path;

use clap::Args as ClapArgs;
use wheatear::Result;
use wheatear::backbone::manifest::Manifest;
use wheatear::board::Board;
use wheatear::config::Config;
use wheatear::service::{self, backbone::BackboneChoice};
use wheatear::store::Adapter;

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
    /// As [`service::adapter::open_or_create`].
    pub fn open_or_create(
        &self,
        config: &Config,
        board: Option<&Board>,
        folder: &Path,
        backbone: &BackboneChoice,
        manifest: &Manifest,
        sounds: usize,
    ) -> Result<Adapter> {
        let mut config = config.clone();
        self.set(&mut config);
        let was_there = std::fs::read_dir(folder).is_ok_and(|mut d| d.next().is_some());
        let adapter = service::adapter::open_or_create(&config, board, folder, (backbone, manifest), self.device, sounds)?;
        if !was_there {
            tell_size(&adapter.header().creation)?;
        }
        Ok(adapter)
    }
}
