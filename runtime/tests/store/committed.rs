//! The committed adapters of each format.

use std::path::PathBuf;

use crate::disk::Image;

pub const DIM: usize = 6;
pub const BITS: u8 = 7;

pub fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/adapter-v{version}"))
}

fn from_text(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let mut bytes = vec![0; lines.next().unwrap().parse().unwrap()];
    for line in lines {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset: usize = offset.parse().unwrap();
        (0..hex.len() / 2).for_each(|i| bytes[offset + i] = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
    }
    bytes
}

/// The files of the adapter of that format.
pub fn committed(version: u32) -> Image {
    let folder = folder(version);
    let mut image = Image::default();
    for name in ["header", "chunks", "state"] {
        image.names.insert(name.to_owned(), image.files.len());
        image.files.push(from_text(&std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap()));
    }
    image
}
