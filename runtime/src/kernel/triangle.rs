//! The packed upper triangle of a Gram matrix as the vector kernels go through it: in blocks of [`ROWS`] components by
//! [`COLUMNS`] columns, whose sums stay in registers. Plain code; what is here is no faster for being written for one
//! instruction set.

use super::scalar::Sign;

/// Components of a block.
pub(super) const ROWS: usize = 4;
/// Columns of a block; blocks start at multiples of it.
pub(super) const COLUMNS: usize = 16;
/// Columns that are gone through for all components before the next.
pub(super) const TILE: usize = 512;

/// Where column 0 of row `i` would stand, were the triangle's left half not left out.
pub(super) fn row_start(i: usize, dim: usize) -> usize {
    i * dim - i * (i + 1) / 2
}

/// Whether the block at component `i` and column `j` lies inside the triangle with all its sums.
pub(super) fn is_whole((i, j): (usize, usize), dim: usize) -> bool {
    i < j && j + COLUMNS <= dim
}

/// Adds those sums of a block at the triangle's edge that are inside it, or subtracts them.
// Kept out of the loops over blocks: inlined, its bounds are computed for every block, and cost more than the sums.
#[cold]
#[inline(never)]
pub(super) fn fold_edge(sums: &[[i32; COLUMNS]; ROWS], (i, j): (usize, usize), dim: usize, sign: Sign, gram: &mut [i64]) {
    for (i, sums) in (i..dim).zip(sums) {
        let (row, first, end) = (row_start(i, dim), j.max(i), dim.min(j + COLUMNS));
        let (out, sums) = (&mut gram[row + first..row + end], &sums[first - j..]);
        match sign {
            Sign::Add => out.iter_mut().zip(sums).for_each(|(g, s)| *g += i64::from(*s)),
            Sign::Subtract => out.iter_mut().zip(sums).for_each(|(g, s)| *g -= i64::from(*s)),
        }
    }
}
