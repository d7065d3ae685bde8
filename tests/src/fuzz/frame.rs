//! Frames: a whole one comes back, a flipped bit or a missing byte is told, and what is read was written so.

use wheatear::ErrorKind;
use wheatear::store::frame::{FLAG_SETTLED, FRAME_LEN_BYTES, FRAME_VERSION, Kind, MAGIC, frame, set_flags, unframe};

use super::pieces::seal;

const KINDS: [Kind; 6] = [Kind::Header, Kind::Root, Kind::ChunkOpen, Kind::Learn, Kind::Block, Kind::Signature];

/// Takes `data` as a frame, as a frame whose length and checksum are put right, and as a body.
pub fn run(data: &[u8]) {
    read(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    if sealed.len() >= FRAME_LEN_BYTES && sealed.starts_with(&MAGIC) && !read(&sealed) {
        assert!(unframe(&sealed).is_err_and(|e| e.kind() == ErrorKind::Mismatch), "a whole frame that is refused is newer");
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
    let mut written = frame(kind, body).expect("as long as it was");
    if bytes[12..16] == FLAG_SETTLED.to_le_bytes() {
        set_flags(&mut written, FLAG_SETTLED);
    }
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
    let flagged = |flags| {
        let mut framed = of(Kind::Learn);
        set_flags(&mut framed, flags);
        framed
    };
    seal(&mut newer);
    seal(&mut unknown);
    let named = [
        ("root", of(Kind::Root)),
        ("learn", of(Kind::Learn)),
        ("settled", flagged(FLAG_SETTLED)),
        ("flagged", flagged(2)),
        ("newer", newer),
        ("unknown", unknown),
        ("empty", Vec::new()),
    ];
    named.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}
