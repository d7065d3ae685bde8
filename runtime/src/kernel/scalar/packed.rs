//! One latent against many packed ones: dot products and squared distances, in integers.
//!
//! Rows are packed as [`crate::store::pack`] writes them, so those of a chunk are scanned where they lie. Both measures are
//! in steps of the quantiser. A step has its own size in each dimension, so neither is one of embeddings; where that is
//! wanted, the sizes belong into the weights of [`super::predict`].

/// Largest D: `33,000 * 255^2 < 2^31`, the largest squared distance.
pub const DIM_MAX: usize = 33_000;

/// Dot products of `query` with each of `out.len()` packed rows: `sum_i q_i x_i`.
///
/// # Shapes
/// `query` i8 \[D\] with `D <= DIM_MAX`; `rows` the packed rows, of `bits` (4..=8) a component, the first at byte 0 and each
/// next one `stride_bytes` on; `out` i32 \[n\]. What stands between a row's last bit and the next row is not looked at, and
/// every value of a component is allowed.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn packed_dots(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    each_row(query, rows, bits, stride_bytes, out, |q, x| q * x);
}

/// Squared Euclidean distances of `query` to each of `out.len()` packed rows: `sum_i (q_i - x_i)^2`.
///
/// # Shapes
/// As [`packed_dots`].
///
/// # Panics
/// When a length does not fit the shapes.
pub fn packed_distances(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    each_row(query, rows, bits, stride_bytes, out, |q, x| (q - x) * (q - x));
}

/// Bytes that hold a packed row of D = `dim`, without what stands behind it.
fn row_bytes(dim: usize, bits: u8) -> usize {
    (dim * usize::from(bits)).div_ceil(8)
}

/// Checks the shapes of a query against packed rows.
pub(in crate::kernel) fn check_packed(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &[i32]) {
    assert!((4..=8).contains(&bits), "a component has 4 to 8 bits");
    assert!(query.len() <= DIM_MAX, "a latent has at most {DIM_MAX} components");
    let used = row_bytes(query.len(), bits);
    assert!(stride_bytes >= used, "a row of {used} bytes in a stride of {stride_bytes}");
    let needed = out.len().checked_sub(1).map_or(Some(0), |before| before.checked_mul(stride_bytes)?.checked_add(used));
    assert!(needed.is_some_and(|needed| rows.len() >= needed), "{} rows at a stride of {stride_bytes} bytes", out.len());
}

fn each_row(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32], term: impl Fn(i32, i32) -> i32) {
    let sum = match bits {
        4 => row_sum::<4, _>,
        5 => row_sum::<5, _>,
        6 => row_sum::<6, _>,
        7 => row_sum::<7, _>,
        _ => row_sum::<8, _>,
    };
    for (n, out) in out.iter_mut().enumerate() {
        *out = sum(query, &rows[n * stride_bytes..][..row_bytes(query.len(), bits)], &term);
    }
}

/// Sum of `term` over the components of a query and a row; eight components fill `BITS` bytes.
fn row_sum<const BITS: usize, F: Fn(i32, i32) -> i32>(query: &[i8], row: &[u8], term: &F) -> i32 {
    let mut sum = 0;
    for (query, bytes) in query.chunks(8).zip(row.chunks(BITS)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (k, q) in query.iter().enumerate() {
            let x = ((word >> (k * BITS) << (64 - BITS)) as i64) >> (64 - BITS);
            sum += term(i32::from(*q), x as i32);
        }
    }
    sum
}
