//! What is on a disk in memory, in pages that copies share until one of them is written to: thousands of images of one disk
//! cost little more than what differs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

const PAGE_LEN_BYTES: usize = 16 * 1024;

#[derive(Clone)]
struct Page {
    bytes: Vec<u8>,
    digest: OnceLock<[u8; 32]>,
}

/// The bytes of one file.
#[derive(Clone, Default)]
pub struct Pages {
    pages: Vec<Arc<Page>>,
    len: usize,
}

impl Pages {
    pub fn zeros(len: usize) -> Pages {
        static ZEROS: OnceLock<Arc<Page>> = OnceLock::new();
        let zeros = ZEROS.get_or_init(|| Arc::new(Page { bytes: vec![0; PAGE_LEN_BYTES], digest: OnceLock::new() }));
        Pages { pages: vec![Arc::clone(zeros); len.div_ceil(PAGE_LEN_BYTES)], len }
    }

    pub fn of(bytes: &[u8]) -> Pages {
        let mut pages = Pages::zeros(bytes.len());
        for (i, part) in bytes.chunks(PAGE_LEN_BYTES).enumerate().filter(|(_, part)| part.iter().any(|b| *b != 0)) {
            pages.write(i * PAGE_LEN_BYTES, part);
        }
        pages
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// Fills `buf` from `offset`, with zeros past the end.
    pub fn read(&self, offset: usize, buf: &mut [u8]) {
        let inside = buf.len().min(self.len.saturating_sub(offset));
        buf[inside..].fill(0);
        let mut at = offset;
        let mut rest = &mut buf[..inside];
        while !rest.is_empty() {
            let from = at % PAGE_LEN_BYTES;
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE_LEN_BYTES - from));
            now.copy_from_slice(&self.pages[at / PAGE_LEN_BYTES].bytes[from..from + now.len()]);
            at += now.len();
            rest = later;
        }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "a write past the end");
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let from = at % PAGE_LEN_BYTES;
            let (now, later) = rest.split_at(rest.len().min(PAGE_LEN_BYTES - from));
            let page = Arc::make_mut(&mut self.pages[at / PAGE_LEN_BYTES]);
            page.bytes[from..from + now.len()].copy_from_slice(now);
            page.digest = OnceLock::new();
            at += now.len();
            rest = later;
        }
    }
}

/// What is on a disk: files keep their bytes under a number of their own, names point to them.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub names: BTreeMap<String, usize>,
    pub files: Vec<Pages>,
}

impl Snapshot {
    /// Equal for disks on which the same names have the same bytes.
    pub fn digest(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        for (name, number) in &self.names {
            let file = &self.files[*number];
            all.update([name.len() as u8]);
            all.update(name);
            all.update(file.len.to_le_bytes());
            file.pages.iter().for_each(|page| all.update(page.digest.get_or_init(|| Sha256::digest(&page.bytes).into())));
        }
        all.finalize().into()
    }
}
