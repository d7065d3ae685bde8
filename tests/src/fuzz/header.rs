//! Headers: what is read is what is written for it, and its geometry can be worked out.

use wheatear::ErrorKind;
use wheatear::latent::Quantiser;
use wheatear::store::Header;
use wheatear::store::frame::{Kind, frame, unframe};
use wheatear::store::header::HEADER_LEN_BYTES;

use super::lives;

/// Takes `data` as a header's file, and as the body of a header's frame.
pub fn run(data: &[u8]) {
    read(data);
    let mut copy = frame(Kind::Header, data).expect("a short body");
    copy.resize(copy.len().next_multiple_of(HEADER_LEN_BYTES), 0);
    read(&copy);
    read(&copy.repeat(2));
}

fn read(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    let written = header.encode().expect("it was written once");
    let copies = written.chunks(written.len() / if header.format == 1 { 1 } else { 2 });
    assert_eq!(written.len(), bytes.len(), "another length gives the same header");
    assert!(copies.zip(bytes.chunks(bytes.len() / 2)).any(|(w, b)| w == b) || written == bytes, "other bytes give the same header");
    assert!(header.chunk_file_len_bytes() > 0 && header.state_file_len_bytes() > 0);
    let creation = &header.creation;
    Quantiser::new(creation.bits, creation.scale.clone()).expect("scales were checked");
    match Header::new(creation.clone(), header.adapter_id) {
        Ok(new) => assert_eq!(Header::decode(&new.encode().expect("a good header")).expect("a good header"), new),
        Err(e) => assert!(matches!(e.kind(), ErrorKind::Config | ErrorKind::Limit), "{e}"),
    }
}

/// Bodies of good headers, smallest to longest names and bounds.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut large = lives::header(40, 4).creation;
    (large.replay_rows, large.max_classes, large.max_origins, large.max_sources) = (100_000, 65_535, 1000, 10_000_000);
    (large.seed, large.backbone) = (u64::MAX, "a backbone with a long name, as people give them".into());
    let large = Header::new(large, [0xff; 16]).expect("a good creation");
    let body = |header: &Header| {
        let file = header.encode().expect("a good header");
        unframe(&file).expect("a frame just made").1.to_vec()
    };
    let file = lives::header(2, 6).encode().expect("a good header");
    vec![
        ("one".into(), body(&lives::header(1, 8))),
        ("six".into(), body(&lives::header(6, 7))),
        ("large".into(), body(&large)),
        ("file".into(), file),
    ]
}
