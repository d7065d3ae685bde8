//! What learning may cost on a board: memory beside the adapter's own, rows that judge, and time.
//!
//! Memory and rows bound the work itself, so that the same rows give the same head however fast the board is; time is watched and told.

use serde::{Deserialize, Serialize};

use crate::head::evidence::SHRINKAGES;
use crate::{Error, ErrorKind, Result};

/// Matrices \[D, D\] of f64 that are there at once while a head is solved and judged, or after it the presence of classes.
const SQUARES: u64 = 8;
/// Matrices \[C, D\].
const MEANS: u64 = 8;
/// Scores of a judging row for each class by each parameter, and copies of them.
const SCORES: u64 = SHRINKAGES.len() as u64 + 4;
/// Matrices \[k, D\] of the rows of one recording.
const RECORDING: u64 = 6;
/// Bytes that do not depend on any of it: 4 MiB are the matrix products' own.
const EVEN_BYTES: u64 = 5 << 20;

/// Bounds of learning; `[learning]` of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Memory that solving and judging a head may take beside the adapter's own, in MiB: 4 to 65536.
    pub memory_mib: u32,
    /// Rows that judge a head, 40 to 3000: more where a recording, which judges whole, is longer than its class's share.
    pub judge_rows: u32,
    /// How long a label may take to a head that serves, in ms: 10 to 600000. What takes longer is told.
    pub head_ms: u32,
}

impl Default for Budget {
    /// Where no board says otherwise.
    fn default() -> Budget {
        Budget { memory_mib: 1024, judge_rows: 400, head_ms: 1000 }
    }
}

impl Budget {
    /// The first value that is not allowed: its key, what is, and what was found.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str, u32)> {
        let all = [
            ("learning.memory_mib", 4..=65_536, "4 to 65536", self.memory_mib),
            ("learning.judge_rows", 40..=3000, "40 to 3000", self.judge_rows),
            ("learning.head_ms", 10..=600_000, "10 to 600000", self.head_ms),
        ];
        all.into_iter().find(|(_, range, _, found)| !range.contains(found)).map(|(key, _, allowed, found)| (key, allowed, found))
    }

    /// Most rows that may judge a head of `classes` over `dim` dimensions.
    ///
    /// # Errors
    /// `Limit` when the head cannot be solved in the memory even without any.
    pub fn rows_max(&self, dim: usize, classes: usize) -> Result<usize> {
        let memory = u64::from(self.memory_mib) << 20;
        let least = need_bytes(dim, classes, 0);
        let rest = memory.checked_sub(least).ok_or_else(|| {
            Error::new(ErrorKind::Limit, "solving a head takes more memory than the board gives to learning")
                .expected(format!(
                    "learning.memory_mib of {} or more, for {classes} classes over {dim} dimensions",
                    least.div_ceil(1 << 20)
                ))
                .found(self.memory_mib)
                .cure("raise it in the board's file, forget classes, or use a backbone of fewer dimensions")
        })?;
        Ok(usize::try_from(rest / row_bytes(dim, classes)).unwrap_or(usize::MAX))
    }
}

/// Peak of the memory that a head of `classes` over `dim` dimensions takes while it is solved and judged by `rows`, from above
/// (`runtime/tests/learning_heap.rs` measures it).
pub fn need_bytes(dim: usize, classes: usize, rows: usize) -> u64 {
    let (d, c, n) = (dim as u64, classes as u64, rows as u64);
    8 * (SQUARES * d * d + MEANS * c * d) + n * row_bytes(dim, classes) + EVEN_BYTES
}

/// A judging row: its latent twice, its scores, and its share of the longest recording, which is at most all rows of a class.
fn row_bytes(dim: usize, classes: usize) -> u64 {
    let (d, c) = (dim as u64, classes as u64);
    2 * d + 8 * (SCORES * c + RECORDING * d / c.max(1)) + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_judge_as_the_memory_holds() {
        let budget = Budget { memory_mib: 64, ..Budget::default() };
        let rows = budget.rows_max(512, 20).unwrap();
        assert!(need_bytes(512, 20, rows) <= 64 << 20 && need_bytes(512, 20, rows + 1) > 64 << 20, "{rows}");
    }

    #[test]
    fn a_head_that_does_not_fit_is_refused_with_what_it_takes() {
        let error = Budget { memory_mib: 64, ..Budget::default() }.rows_max(2048, 20).unwrap_err();
        let need = need_bytes(2048, 20, 0).div_ceil(1 << 20);
        assert!(error.kind() == ErrorKind::Limit && error.to_string().contains(&format!("memory_mib of {need} or more")), "{error}");
        assert!(Budget { memory_mib: need as u32, ..Budget::default() }.rows_max(2048, 20).is_ok());
    }
}
