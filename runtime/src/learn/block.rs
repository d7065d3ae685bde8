//! Blocks: integer sufficient statistics of rows, exact under addition and subtraction.
//!
//! Over latents q in Z^D a block holds `G = sum q q^T`, `S = sum q`, the number of rows N, and for each class the sum and
//! number of its rows, all in i64. The same rows give the same block in any order, any partition and on any processor, so
//! merging devices is addition and undo is subtraction. Nothing wraps: no more than [`ROWS_MAX`] rows are let in, and
//! that many cannot overflow.
//!
//! Which formula holds depends on the [`BlockKind`]: with exactly one class a row the within-class scatter is
//! `W = G - sum_c S_c S_c^T / n_c`; where a row may have several classes or none it is not, and only the total scatter
//! `T = G - S S^T / N` holds.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::kernel::gram_update;
use crate::kernel::scalar::{Sign, sum_update};
use crate::learn::{ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// Most rows in a block: `ROWS_MAX * 127^2 <= i64::MAX`, so no statistic of that many rows overflows.
pub const ROWS_MAX: u64 = i64::MAX as u64 / 16_129;

/// Largest dimension D: a block is then 268 MB.
pub const DIM_MAX: usize = 8192;

/// Rows handed to the kernel at once; bounds the scratch memory of one call.
const PIECE_ROWS: usize = 1024;

const MAGIC: [u8; 4] = *b"WHBK";
const VERSION: u8 = 1;
const HEADER_LEN_BYTES: usize = 4 + 1 + 1 + 2 + 4 + 4 + 8;

/// Which rows a block takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockKind {
    /// Rows with exactly one positive class and no negative one: both scatters hold, the solved heads learn from these.
    Latents,
    /// Rows with several positive classes, or with negative ones: only the total scatter holds.
    Mixed,
    /// Rows without any label: only the total scatter holds, and there are no classes.
    Background,
}

/// Sums of the rows of one class, in units of latent steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSums {
    /// Sum of the rows that are this class, \[D\].
    pub sum: Vec<i64>,
    /// Rows that are this class.
    pub n: u64,
    /// Sum of the rows that are said not to be this class, \[D\].
    pub negative_sum: Vec<i64>,
    /// Rows that are said not to be this class.
    pub negative_n: u64,
}

impl ClassSums {
    fn zero(dim: usize) -> ClassSums {
        ClassSums { sum: vec![0; dim], n: 0, negative_sum: vec![0; dim], negative_n: 0 }
    }
}

/// Integer sufficient statistics of rows of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    kind: BlockKind,
    dim: usize,
    rows: u64,
    sum: Vec<i64>,
    gram: Vec<i64>,
    classes: BTreeMap<ClassName, ClassSums>,
}

impl Block {
    /// An empty block over D = `dim` components.
    ///
    /// # Errors
    /// `Config` unless `1 <= dim <= DIM_MAX`.
    pub fn new(kind: BlockKind, dim: usize) -> Result<Block> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(Error::new(ErrorKind::Config, "a block cannot have this dimension").expected(format!("1 to {DIM_MAX}")).found(dim));
        }
        Ok(Block { kind, dim, rows: 0, sum: vec![0; dim], gram: vec![0; dim * (dim + 1) / 2], classes: BTreeMap::new() })
    }

    /// Which rows it takes.
    pub fn kind(&self) -> BlockKind {
        self.kind
    }

    /// Number of components D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows N.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `S`, the sum of all rows \[D\].
    pub fn sum(&self) -> &[i64] {
        &self.sum
    }

    /// `G`, upper triangle row-major: `G[i][j]` for `i <= j` at `i * D - i (i - 1) / 2 + j - i`, D(D+1)/2 long.
    pub fn gram(&self) -> &[i64] {
        &self.gram
    }

    /// The classes in canonical order; each has at least one row.
    pub fn classes(&self) -> &BTreeMap<ClassName, ClassSums> {
        &self.classes
    }

    /// Learns one row.
    ///
    /// # Errors
    /// As [`Block::add_chunk`].
    pub fn add(&mut self, latent: &[i8], labels: &LabelSet) -> Result<()> {
        self.add_chunk(latent, std::slice::from_ref(labels))
    }

    /// Learns rows: `latents` i8 \[n, D\] row-major with one label set each. On an error nothing has changed.
    ///
    /// # Errors
    /// `Input` when the lengths do not fit, a component is -128 (no quantiser makes it) or a row is not of this block's
    /// kind; `Limit` when [`ROWS_MAX`] would be passed.
    pub fn add_chunk(&mut self, latents: &[i8], labels: &[LabelSet]) -> Result<()> {
        self.check_rows(latents, labels)?;
        self.rows = more_rows(self.rows, labels.len() as u64)?;
        for piece in latents.chunks(PIECE_ROWS * self.dim) {
            gram_update(piece, self.dim, Sign::Add, &mut self.gram);
        }
        for (row, labels) in latents.chunks_exact(self.dim).zip(labels) {
            sum_update(row, Sign::Add, &mut self.sum);
            for class in labels.positive() {
                let c = self.class_mut(class);
                sum_update(row, Sign::Add, &mut c.sum);
                c.n += 1;
            }
            for class in labels.negative() {
                let c = self.class_mut(class);
                sum_update(row, Sign::Add, &mut c.negative_sum);
                c.negative_n += 1;
            }
        }
        Ok(())
    }

    /// Takes one learned row back; exact.
    ///
    /// # Errors
    /// As [`Block::subtract_chunk`].
    pub fn subtract(&mut self, latent: &[i8], labels: &LabelSet) -> Result<()> {
        self.subtract_chunk(latent, std::slice::from_ref(labels))
    }

    /// Takes learned rows back; exact. On an error nothing has changed.
    ///
    /// # Errors
    /// `Input` as for [`Block::add_chunk`]; `Learn` when they cannot have been learned here (a count would fall below
    /// zero, or what is left could not be the statistics of any rows).
    pub fn subtract_chunk(&mut self, latents: &[i8], labels: &[LabelSet]) -> Result<()> {
        let mut other = Block::new(self.kind, self.dim)?;
        other.add_chunk(latents, labels)?;
        self.unmerge(&other)
    }

    /// Adds another block of the same kind and dimension. On an error nothing has changed.
    ///
    /// # Errors
    /// `Mismatch` for another kind or dimension; `Limit` when [`ROWS_MAX`] would be passed.
    pub fn merge(&mut self, other: &Block) -> Result<()> {
        self.check_alike(other)?;
        self.rows = more_rows(self.rows, other.rows)?;
        add_all(&mut self.gram, &other.gram);
        add_all(&mut self.sum, &other.sum);
        for (name, theirs) in &other.classes {
            let ours = self.class_mut(name);
            add_all(&mut ours.sum, &theirs.sum);
            add_all(&mut ours.negative_sum, &theirs.negative_sum);
            ours.n += theirs.n;
            ours.negative_n += theirs.negative_n;
        }
        Ok(())
    }

    /// Takes a merged block back; exact. On an error nothing has changed.
    ///
    /// # Errors
    /// `Mismatch` for another kind or dimension; `Learn` when `other` cannot have been merged into this block.
    pub fn unmerge(&mut self, other: &Block) -> Result<()> {
        self.check_alike(other)?;
        let foreign = |at: String| Error::new(ErrorKind::Learn, "rows that are not in a block cannot be taken out of it").at(at);
        let rows = self.rows.checked_sub(other.rows).ok_or_else(|| foreign(format!("{} of {} rows", other.rows, self.rows)))?;
        let mut classes = self.classes.clone();
        for (name, theirs) in &other.classes {
            let ours = classes.get_mut(name).ok_or_else(|| foreign(format!("class {name:?}")))?;
            let counts = (ours.n.checked_sub(theirs.n), ours.negative_n.checked_sub(theirs.negative_n));
            let (Some(n), Some(negative_n)) = counts else { return Err(foreign(format!("class {name:?}"))) };
            (ours.n, ours.negative_n) = (n, negative_n);
            subtract_all(&mut ours.sum, &theirs.sum);
            subtract_all(&mut ours.negative_sum, &theirs.negative_sum);
        }
        // Invariants of what would be left, checked before anything is changed; both sides are within ROWS_MAX, so the
        // differences cannot overflow.
        let left = |ours: &[i64], theirs: &[i64], at: &str| {
            let bound = entry_bound(rows, if at == "G" { 16_129 } else { 127 });
            match ours.iter().zip(theirs).all(|(a, b)| a.abs_diff(*b) <= bound) {
                true => Ok(()),
                false => Err(foreign(at.to_owned())),
            }
        };
        left(&self.gram, &other.gram, "G")?;
        left(&self.sum, &other.sum, "S")?;
        check_classes(self.kind, rows, classes.iter(), None).map_err(|e| foreign("classes".to_owned()).because(e))?;
        classes.retain(|_, c| c.n + c.negative_n > 0);
        subtract_all(&mut self.gram, &other.gram);
        subtract_all(&mut self.sum, &other.sum);
        (self.rows, self.classes) = (rows, classes);
        Ok(())
    }

    /// Puts the sums of the class whose retired name is `retired` under that name; false when there is no such class.
    pub fn retire(&mut self, retired: &ClassName) -> bool {
        let its = |name: &&ClassName| !name.is_retired() && name.retired() == *retired;
        let Some(name) = self.classes.keys().find(its).cloned() else { return false };
        let Some(sums) = self.classes.remove(&name) else { return false };
        let kept = self.class_mut(retired);
        add_all(&mut kept.sum, &sums.sum);
        add_all(&mut kept.negative_sum, &sums.negative_sum);
        (kept.n, kept.negative_n) = (kept.n + sums.n, kept.negative_n + sums.negative_n);
        true
    }

    fn class_mut(&mut self, name: &ClassName) -> &mut ClassSums {
        let dim = self.dim;
        self.classes.entry(name.clone()).or_insert_with(|| ClassSums::zero(dim))
    }

    fn check_alike(&self, other: &Block) -> Result<()> {
        if (self.kind, self.dim) != (other.kind, other.dim) {
            return Err(Error::new(ErrorKind::Mismatch, "only blocks of one kind and dimension add up")
                .expected(format!("{:?} of {} dimensions", self.kind, self.dim))
                .found(format!("{:?} of {}", other.kind, other.dim)));
        }
        Ok(())
    }

    fn check_rows(&self, latents: &[i8], labels: &[LabelSet]) -> Result<()> {
        if Some(latents.len()) != labels.len().checked_mul(self.dim) {
            return Err(Error::new(ErrorKind::Input, "rows and labels do not fit together")
                .expected(format!("{} x {} components", labels.len(), self.dim))
                .found(latents.len()));
        }
        if let Some(i) = latents.iter().position(|q| *q == i8::MIN) {
            return Err(Error::new(ErrorKind::Input, "a latent component lies outside its range")
                .at(format!("row {}, component {}", i / self.dim, i % self.dim))
                .expected("-127 to 127")
                .found(i8::MIN));
        }
        if let Some(i) = labels.iter().position(|l| l.block_kind() != self.kind) {
            return Err(Error::new(ErrorKind::Input, "the row belongs to another block")
                .at(format!("row {i}"))
                .expected(format!("{:?}", self.kind))
                .found(format!("{:?}", labels[i].block_kind())));
        }
        Ok(())
    }

    /// The canonical form, little-endian: equal statistics are equal bytes.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 4 | `WHBK` |
    /// | 1 | version, 1 |
    /// | 1 | kind: 0 latents, 1 mixed, 2 background |
    /// | 2 | zero |
    /// | 4 | D, u32 |
    /// | 4 | number of classes C, u32 |
    /// | 8 | N, u64 |
    /// | 8 D | S, i64 |
    /// | 8 D (D + 1) / 2 | G, upper triangle row-major, i64 |
    ///
    /// then C classes in the order of their names' bytes, each: length of the name u16, the name; n u64, sum i64 \[D\];
    /// and in a mixed block n u64 and sum i64 \[D\] of its negative rows. A class without any row is not written.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN_BYTES + 8 * (self.dim + self.gram.len()));
        out.extend(MAGIC);
        out.extend([VERSION, kind_code(self.kind), 0, 0]);
        out.extend((self.dim as u32).to_le_bytes());
        out.extend((self.classes.len() as u32).to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        let put = |out: &mut Vec<u8>, values: &[i64]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
        put(&mut out, &self.sum);
        put(&mut out, &self.gram);
        for (name, c) in &self.classes {
            out.extend((name.as_str().len() as u16).to_le_bytes());
            out.extend(name.as_str().as_bytes());
            out.extend(c.n.to_le_bytes());
            put(&mut out, &c.sum);
            if self.kind == BlockKind::Mixed {
                out.extend(c.negative_n.to_le_bytes());
                put(&mut out, &c.negative_sum);
            }
        }
        out
    }

    /// Reads the canonical form back; memory is taken only for what `bytes` holds.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not the canonical form of a block: wrong magic, version, kind or length, classes out
    /// of order, twice or not in normal form, counts or sums that no rows could give.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Block> {
        let mut input = Reader { bytes, at: 0 };
        let header = input.take(8)?;
        if header[..4] != MAGIC || header[4] != VERSION || header[6..8] != [0, 0] {
            return Err(input.bad("no block of version 1 starts here", "WHBK 01 .. 00 00", format!("{header:02x?}")));
        }
        let kind = match header[5] {
            0 => BlockKind::Latents,
            1 => BlockKind::Mixed,
            2 => BlockKind::Background,
            k => return Err(input.bad("a block has an unknown kind", "0, 1 or 2", k)),
        };
        let dim = input.u32()? as usize;
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(input.bad("a block has an impossible dimension", format!("1 to {DIM_MAX}"), dim));
        }
        let class_count = input.u32()?;
        let rows = input.u64()?;
        if rows > ROWS_MAX {
            return Err(input.bad("a block has an impossible number of rows", format!("at most {ROWS_MAX}"), rows));
        }
        let sum = input.i64s(dim, entry_bound(rows, 127))?;
        let gram = input.i64s(dim * (dim + 1) / 2, entry_bound(rows, 16_129))?;
        let mut diagonal = 0;
        for i in 0..dim {
            if gram[diagonal] < 0 {
                return Err(input.bad("a sum of squares is negative", "at least 0", gram[diagonal]));
            }
            diagonal += dim - i;
        }
        let mut classes = BTreeMap::new();
        for _ in 0..class_count {
            let len = usize::from(u16::from_le_bytes(input.array()?));
            let name = ClassName::from_canonical(input.take(len)?)?;
            if classes.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(input.bad("classes are out of order", "ascending bytes, each once", format!("{name:?}")));
            }
            let mut c = ClassSums::zero(dim);
            c.n = input.u64()?;
            c.sum = input.i64s(dim, entry_bound(c.n, 127))?;
            if kind == BlockKind::Mixed {
                c.negative_n = input.u64()?;
                c.negative_sum = input.i64s(dim, entry_bound(c.negative_n, 127))?;
            }
            if c.n == 0 && c.negative_n == 0 {
                return Err(input.bad("a class has no rows", "at least 1", format!("{name:?}")));
            }
            classes.insert(name, c);
        }
        if input.at != bytes.len() {
            return Err(input.bad("bytes follow the end of a block", input.at, bytes.len()));
        }
        check_classes(kind, rows, classes.iter(), Some(&sum))?;
        Ok(Block { kind, dim, rows, sum, gram, classes })
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_canonical_bytes()).into()
    }
}

fn kind_code(kind: BlockKind) -> u8 {
    match kind {
        BlockKind::Latents => 0,
        BlockKind::Mixed => 1,
        BlockKind::Background => 2,
    }
}

/// Largest magnitude of an entry that sums `rows` terms of at most `each`.
fn entry_bound(rows: u64, each: u64) -> u64 {
    rows.saturating_mul(each)
}

fn more_rows(rows: u64, more: u64) -> Result<u64> {
    rows.checked_add(more).filter(|n| *n <= ROWS_MAX).ok_or_else(|| {
        Error::new(ErrorKind::Limit, "a block is full")
            .expected(format!("at most {ROWS_MAX} rows"))
            .found(format!("{rows} + {more}"))
            .cure("start a new origin: blocks of several origins are added when a head is solved")
    })
}

/// Do the classes' counts, bounds and sums fit the block's?
fn check_classes<'a>(
    kind: BlockKind,
    rows: u64,
    classes: impl Iterator<Item = (&'a ClassName, &'a ClassSums)>,
    total: Option<&[i64]>,
) -> Result<()> {
    let bad = |what: &str, at: String| Error::new(ErrorKind::Corrupt, what).at(at);
    let (mut counted, mut summed) = (0u64, total.map(|t| vec![0i64; t.len()]));
    for (name, c) in classes {
        let at = || format!("class {name:?}");
        if c.n.checked_add(c.negative_n).is_none_or(|n| n > rows) {
            return Err(bad("a class has more rows than its block", at()));
        }
        for (sum, n) in [(&c.sum, c.n), (&c.negative_sum, c.negative_n)] {
            if sum.iter().any(|s| s.unsigned_abs() > entry_bound(n, 127)) {
                return Err(bad("a sum is larger than its rows can make it", at()));
            }
        }
        counted = counted.saturating_add(c.n);
        if let Some(t) = summed.as_mut() {
            t.iter_mut().zip(&c.sum).for_each(|(t, s)| *t = t.saturating_add(*s));
        }
    }
    let fits = match kind {
        BlockKind::Latents => counted == rows && summed.as_deref() == total,
        BlockKind::Background => counted == 0,
        BlockKind::Mixed => true,
    };
    match fits {
        true => Ok(()),
        false => Err(bad("the classes do not add up to their block", format!("{counted} of {rows} rows"))),
    }
}

// Overflow is excluded by ROWS_MAX, which every caller has checked.
fn add_all(to: &mut [i64], from: &[i64]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

fn subtract_all(to: &mut [i64], from: &[i64]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a -= b);
}

/// Reads little-endian fields and knows where it is.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len {
            return Err(self.bad("a block ends too early", format!("{len} more bytes"), rest.len()));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `len` numbers of magnitude at most `bound`; the bytes are there before memory is taken.
    fn i64s(&mut self, len: usize, bound: u64) -> Result<Vec<i64>> {
        let start = self.at;
        let (words, _) = self.take(8 * len)?.as_chunks::<8>();
        let values: Vec<i64> = words.iter().map(|w| i64::from_le_bytes(*w)).collect();
        if let Some(i) = values.iter().position(|v| v.unsigned_abs() > bound) {
            self.at = start + 8 * i;
            return Err(self.bad("a sum is larger than its rows can make it", format!("magnitude at most {bound}"), values[i]));
        }
        Ok(values)
    }

    fn bad(&self, what: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, what)
            .at(format!("byte {}", self.at))
            .expected(expected)
            .found(found)
            .cure("restore the adapter from a backup or from the host")
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
