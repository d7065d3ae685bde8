//! Which board a command works for: its budget of learning, and how large an adapter may be on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use wheatear::Result;
use wheatear::board::Board;
use wheatear::config::Config;
use wheatear::learner::Budget;
use wheatear::service::adapter::tell_large;
use wheatear::store::Adapter;

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
