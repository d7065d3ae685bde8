//! Latents packed to fewer bits: what is unpacked packs to the same bits, and what is packed comes back.

use wheatear::latent::limit;
use wheatear::store::pack::{pack, row_stride_bytes, unpack};

/// Takes `data` as a width, a number of components and packed bytes.
pub fn run(data: &[u8]) {
    let Some((&[width, dim], packed)) = data.split_first_chunk() else { return };
    let (bits, dim) = (4 + width % 5, usize::from(dim));
    let mut latent = vec![0i8; dim];
    if unpack(packed, bits, &mut latent).is_ok() {
        assert!(latent.iter().all(|q| i32::from(*q).abs() <= limit(bits)), "{latent:?} of {bits} bits");
        let mut again = Vec::new();
        pack(&latent, bits, &mut again);
        assert_eq!(again.len(), row_stride_bytes(dim, bits));
        let len = again.len().min(packed.len());
        assert_eq!(again[..len], packed[..len]);
        assert!(again[len..].iter().chain(&packed[len..]).all(|b| *b == 0), "only zeros stand behind a row");
    }
    let most = limit(bits) as i8;
    let latent: Vec<i8> = packed.iter().take(dim).map(|b| (*b as i8).clamp(-most, most)).collect();
    let (mut packed, mut back) = (Vec::new(), vec![0; latent.len()]);
    pack(&latent, bits, &mut packed);
    unpack(&packed, bits, &mut back).expect("in range");
    assert_eq!(back, latent);
}

/// A row of each width.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let row = |bits: u8| {
        let latent: Vec<i8> = (0..21).map(|i| (i * 37 % (2 * limit(bits) + 1) - limit(bits)) as i8).collect();
        let mut bytes = vec![bits - 4, latent.len() as u8];
        pack(&latent, bits, &mut bytes);
        bytes
    };
    (4..=8).map(|bits| (format!("{bits}-bits"), row(bits))).collect()
}
