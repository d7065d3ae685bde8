//! Frames: a whole one comes back, a flipped bit or a missing byte is told, and what is read was written so.

use wheatear::ErrorKind;
use wheatear::store::frame::{FRAME_LEN_BYTES, FRAME_VERSION, Kind, MAGIC, frame, unframe};

use super::pieces::seal;

const KINDS: [Kind; 6] = [Kind::Header, Kind::Root, Kind::ChunkOpen, Kind::Learn, Kind::Block, Kind::Signature];

/// Takes `data` as a frame, as a frame whose length and checksum are put right, and as a body.
pub fn run(data: &[u8]) {
    read(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    if sealed.len() >= FRAME_LEN_BYTES && sealed.starts_with(&MAGIC) && !read(&sealed) {
        let newer = |e: wheatear::Error| e.kind() == ErrorKind::Mismatch || sealed[12..16] != [0; 4];
        assert!(unframe(&sealed).is_err_and(newer), "a whole frame is damage only when its zeros are none");
    }
    let (kind, at) = (KINDS[data.len() % KINDS.len()], data.iter().fold(0usize, |sum, b| sum.wrapping_mul(31) + usize::from(*b)));
    let mut whole = frame(kind, data).expect("a short body");
    assert_eq!(unframe(&whole).expect("a frame just made"), (kind, data));
    assert!(unframe(&whole[..at % whole.len()]).is_err(), "cut at {}", at % whole.len());
    let bit = at % (8 * whole.len());
    whole[bit / 8] ^= 1 << (bit % 8);
    assert!(unframe(&whole).is_err(), "bit {bit}");
}

/// Is there a frame at the start of `bytes`? If so, it is what is written for its kind and body.
fn read(bytes: &[u8]) -> bool {
    let Ok((kind, body)) = unframe(bytes) else { return false };
    let written = frame(kind, body).expect("as long as it was");
    assert_eq!(bytes[..written.len()], written, "{kind:?}");
    true
}

/// Good frames, a newer one and one of an unknown kind.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let of = |kind| frame(kind, b"a body of some length").expect("a short body");
    let mut newer = of(Kind::Root);
    newer[4] = FRAME_VERSION as u8 + 1;
    let mut unknown = of(Kind::Root);
    unknown[6..8].copy_from_slice(&999u16.to_le_bytes());
    let mut padding = of(Kind::Root);
    padding[12] = 1;
    seal(&mut padding);
    seal(&mut newer);
    seal(&mut unknown);
    let named = [
        ("root", of(Kind::Root)),
        ("learn", of(Kind::Learn)),
        ("padding", padding),
        ("newer", newer),
        ("unknown", unknown),
        ("empty", Vec::new()),
    ];
    named.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}
