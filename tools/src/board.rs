//! Which board a command works for: its budget of learning, and how large an adapter may be on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use wheatear::board::Board;
use wheatear::config::Config;
use wheatear::learner::Budget;
use wheatear::store::{Adapter, Creation, Header};
use wheatear::{Error, ErrorKind, Result};

/// Where the board's profile is.
#[derive(Debug, Clone, ClapArgs)]
pub struct BoardArgs {
    /// Board: a file as in boards/, for what learning may cost and how large an adapter may be
    #[arg(long, value_name = "FILE.toml", env = "WHEATEAR_BOARD")]
    board: Option<PathBuf>,
}

impl BoardArgs {
    /// Sets in `config` what the command line says.
    pub fn set(&self, config: &mut Config) {
        config.board = self.board.clone().or(config.board.take());
    }

    /// The board that the command line names, or else `config`.
    ///
    /// # Errors
    /// As [`Board::load`].
    pub fn load(&self, config: &Config) -> Result<Option<Board>> {
        self.board.as_ref().or(config.board.as_ref()).map(|path| Board::load(path)).transpose()
    }

    /// What learning may cost on the board that the command line names; the defaults where it names none. Warns when `adapter` is too
    /// large for it.
    ///
    /// # Errors
    /// As [`Board::load`].
    pub fn budget(&self, adapter: &Adapter) -> Result<Budget> {
        let board = self.load(&Config::default())?;
        tell_large(board.as_ref(), adapter);
        Ok(budget_of(board.as_ref()))
    }
}

/// What learning may cost on `board`.
pub fn budget_of(board: Option<&Board>) -> Budget {
    board.map_or_else(Budget::default, |b| b.learning)
}

/// Refuses an adapter that is too large for `board`.
///
/// # Errors
/// `Limit` with what it takes; as [`Header::new`].
pub fn check_size(board: Option<&Board>, creation: &Creation) -> Result<()> {
    let Some(board) = board else { return Ok(()) };
    let header = Header::new(creation.clone(), [0; 16])?;
    let Some(mib) = too_large(board, &header) else { return Ok(()) };
    Err(Error::new(ErrorKind::Limit, "the adapter would be larger than the board gives it")
        .at(&board.name)
        .expected(format!("at most {} MiB (adapter_mib)", board.adapter_mib))
        .found(format!("{mib} MiB, for {} rows in replay and {} classes", creation.replay_rows, creation.max_classes))
        .cure("give fewer --replay-rows or --max-classes, or fewer --latent-bits"))
}

/// Warns when `adapter`, which is there already, is larger than `board` gives it.
pub fn tell_large(board: Option<&Board>, adapter: &Adapter) {
    let Some(board) = board else { return };
    if let Some(mib) = too_large(board, adapter.header()) {
        log::warn!(
            "{}: it takes {mib} MiB, the board {} gives an adapter {} (adapter_mib): teach a new one with fewer --replay-rows, or raise \
             adapter_mib in the board's file",
            adapter.folder().display(),
            board.name,
            board.adapter_mib
        );
    }
}

/// MiB that an adapter of `header` takes, where that is more than `board` gives it.
fn too_large(board: &Board, header: &Header) -> Option<u64> {
    let mib = (header.chunk_file_len_bytes() + header.state_file_len_bytes()).div_ceil(1 << 20);
    (mib > u64::from(board.adapter_mib)).then_some(mib)
}

/// Warns when a head took longer than `budget` gives it.
pub fn tell_slow(adapter: &Path, budget: &Budget, took: Duration) {
    if took.as_millis() > u128::from(budget.head_ms) {
        log::warn!(
            "{}: the new head took {} ms, the board gives it {}: lower judge_rows in the board's file, or raise head_ms",
            adapter.display(),
            took.as_millis(),
            budget.head_ms
        );
    }
}
