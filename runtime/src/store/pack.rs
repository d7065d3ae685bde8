//! Latents packed to 4..=8 bits a component: two's complement, least significant bit first, rows at a stride of 16 bytes.

use crate::{Error, ErrorKind, Result};

/// Bytes from one packed row to the next: `ceil(dim * bits / 8)`, rounded up to 16.
pub fn row_stride_bytes(dim: usize, bits: u8) -> usize {
    (dim * usize::from(bits)).div_ceil(8).next_multiple_of(16)
}

/// Appends `latent` to `out`, packed to `bits`, padded with zeros to the stride.
pub fn pack(latent: &[i8], bits: u8, out: &mut Vec<u8>) {
    let end = out.len() + row_stride_bytes(latent.len(), bits);
    if bits == 8 {
        out.extend(latent.iter().map(|q| *q as u8));
    } else {
        let mask = (1u32 << bits) - 1;
        let (mut word, mut filled) = (0u32, 0);
        for q in latent {
            word |= (*q as u32 & mask) << filled;
            filled += u32::from(bits);
            while filled >= 8 {
                out.push(word as u8);
                word >>= 8;
                filled -= 8;
            }
        }
        if filled > 0 {
            out.push(word as u8);
        }
    }
    out.resize(end, 0);
}

/// Unpacks one row of `bits` into `latent`.
///
/// # Errors
/// `Corrupt` when `packed` is shorter than the row, when anything but zeros stands behind it, or when a component is the one
/// value that no quantiser writes (`-2^(bits-1)`).
pub fn unpack(packed: &[u8], bits: u8, latent: &mut [i8]) -> Result<()> {
    let needed = (latent.len() * usize::from(bits)).div_ceil(8);
    if packed.len() < needed {
        return Err(Error::new(ErrorKind::Corrupt, "a packed row is too short").expected(needed).found(packed.len()));
    }
    let used_bits = latent.len() * usize::from(bits) % 8;
    if packed[needed..].iter().any(|b| *b != 0) || used_bits > 0 && packed[needed - 1] >> used_bits != 0 {
        return Err(Error::new(ErrorKind::Corrupt, "a packed row is followed by other bytes"));
    }
    if bits == 8 {
        latent.iter_mut().zip(packed).for_each(|(q, b)| *q = *b as i8);
    } else {
        let (mut word, mut filled, mut next) = (0u32, 0, packed.iter());
        for q in latent.iter_mut() {
            while filled < u32::from(bits) {
                word |= u32::from(next.next().copied().unwrap_or(0)) << filled;
                filled += 8;
            }
            let sign_shift = 8 - bits;
            *q = ((word << sign_shift) as u8 as i8) >> sign_shift;
            word >>= bits;
            filled -= u32::from(bits);
        }
    }
    let lowest = (-(1i32 << (bits - 1))) as i8;
    match latent.iter().position(|q| *q == lowest) {
        None => Ok(()),
        Some(i) => Err(Error::new(ErrorKind::Corrupt, "a stored latent is out of range").at(format!("component {i}")).found(lowest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back() {
        for bits in 4..=8u8 {
            let m = (1i32 << (bits - 1)) - 1;
            for dim in 0..70usize {
                let latent: Vec<i8> = (0..dim).map(|i| ((i as i32 * 37) % (2 * m + 1) - m) as i8).collect();
                let mut packed = Vec::new();
                pack(&latent, bits, &mut packed);
                assert_eq!(packed.len(), row_stride_bytes(dim, bits));
                let mut back = vec![0i8; dim];
                unpack(&packed, bits, &mut back).unwrap();
                assert_eq!(back, latent, "{bits} bits, {dim} components");
            }
        }
    }

    #[test]
    fn the_value_no_quantiser_writes_is_refused() {
        assert!(unpack(&[0x80], 8, &mut [0]).is_err());
        assert!(unpack(&[0x08], 4, &mut [0]).is_err());
        assert!(unpack(&[], 8, &mut [0]).is_err());
    }
}
