//! Roots: what is read from any body is read again from what is written for it.

use wheatear::store::frame::{Kind, frame, frame_postcard, unframe, unframe_postcard};
use wheatear::store::state::Root;

use super::patch::whole;
use super::pieces::Role;

/// Takes `data` as the body of a root's frame.
pub fn run(data: &[u8]) {
    let file = frame(Kind::Root, data).expect("a short body");
    let Ok(root) = unframe_postcard::<Root>(&file, Kind::Root) else { return };
    let written = frame_postcard(Kind::Root, &root).expect("as long as it was");
    assert!(written.len() <= file.len(), "a number has a shortest form");
    let again: Root = unframe_postcard(&written, Kind::Root).expect("it was just written");
    // A parity may be no number, so bytes are compared.
    assert_eq!(frame_postcard(Kind::Root, &again).expect("as long as it was"), written);
}

/// The bodies of all roots of all lives.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (life, pieces) in whole() {
        for (i, root) in pieces.iter().filter(|p| p.role == Role::Root).enumerate() {
            seeds.push((format!("{}-{i}", life.name), unframe(&root.bytes).expect("a good root").1.to_vec()));
        }
    }
    seeds
}
