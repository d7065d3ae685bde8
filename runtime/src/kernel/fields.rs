//! Where the components of a packed latent stand, for kernels that unpack sixteen at a time: these fill `2 * bits` bytes,
//! and each lies in two neighbouring bytes.

/// Components that are unpacked together.
pub(super) const COMPONENTS: usize = 16;

/// The places of sixteen components at the start of sixteen bytes.
pub(super) struct Fields {
    /// For each component the two bytes it lies in, low one first; a byte behind the sixteenth is not needed and given as 255.
    pub bytes: [u8; 2 * COMPONENTS],
    /// How far the two bytes must be shifted left for the component's sign to be their highest bit.
    pub left: [i16; COMPONENTS],
}

impl Fields {
    pub fn new(bits: u8) -> Fields {
        let first = |i: usize| i * usize::from(bits) / 8;
        let byte = |at: usize| if at < 16 { at as u8 } else { u8::MAX };
        Fields {
            bytes: std::array::from_fn(|k| byte(first(k / 2) + k % 2)),
            left: std::array::from_fn(|i| 16 - i16::from(bits) - (i * usize::from(bits) % 8) as i16),
        }
    }
}

/// The sixteen bytes of `row` from `at` on; behind its end, zeros.
#[inline]
pub(super) fn sixteen_bytes(row: &[u8], at: usize) -> [u8; 16] {
    let rest = &row[at..];
    match rest.first_chunk() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; 16];
            bytes[..rest.len()].copy_from_slice(rest);
            bytes
        }
    }
}

/// Sixteen values from `values`, with zeros behind its end.
#[inline]
pub(super) fn padded(values: &[i8]) -> [i8; COMPONENTS] {
    std::array::from_fn(|k| values.get(k).copied().unwrap_or(0))
}
