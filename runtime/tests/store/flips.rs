//! Every single bit of an adapter's files flipped: it is refused, or reported, or does no harm; the answer is never another one
//! without a word. One copy of the header and one checkpoint may be damaged without harm. Bits that opening never reads cannot
//! matter, and are left out.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheatear::learn::LabelSet;
use wheatear::store::{Access, Adapter, Recovery, RowFlags};

use crate::diary::Sums;
use crate::disk::{Disk, Event};
use crate::exhaust::{caught, try_all};
use crate::pages::Snapshot;
use crate::script::Lived;
use crate::survive::{Check, ensure};
use crate::world::sums_of;

/// What came of it.
#[derive(Debug, Default)]
pub struct Flips {
    /// Bits that were flipped, and those that are never read.
    pub flipped: usize,
    pub unread: usize,
    pub refused: usize,
    pub reported: usize,
    pub harmless: usize,
    pub silent: usize,
    pub failures: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Refused,
    Reported,
    Harmless,
}

/// A row as it lies: id, labels, flags and packed latent.
type Lying = (u64, LabelSet, RowFlags, Vec<u8>);

/// What an adapter answers.
#[derive(PartialEq)]
struct Answer {
    generation: u64,
    sums: Sums,
    rows: Vec<Lying>,
}

impl Answer {
    fn of(adapter: &Adapter) -> Check<Answer> {
        let mut rows = Vec::new();
        let looked = adapter.rows_in_place(|row| {
            rows.push((row.id, row.labels.clone(), row.flags, row.packed.to_vec()));
            Ok(())
        });
        looked.map_err(|e| format!("rows cannot be read: {e}"))?;
        rows.sort_by_key(|row| row.0);
        Ok(Answer { generation: adapter.generation(), sums: sums_of(adapter), rows })
    }
}

/// What must be answered by what a life left.
struct Truth {
    image: Snapshot,
    answer: Answer,
    /// Without the last record.
    one_less: Answer,
}

/// Flips the bits that are `wanted` of each byte that is read, one at a time.
pub fn every_flip(lived: &Lived, wanted: impl Fn(usize) -> Range<u8> + Sync, dump: Option<&Path>) -> Flips {
    let image = lived.life.disk.snapshot();
    let answer = Answer::of(&Disk::at(image.clone()).open(Access::Read).unwrap()).unwrap();
    let truth = Truth { one_less: without_last_record(lived), image, answer };
    let bytes = truth.bytes_read();
    let len_bytes: usize = truth.image.names.values().map(|n| truth.image.files[*n].len()).sum();
    let counts: [AtomicUsize; 3] = Default::default();
    let flipped = AtomicUsize::new(0);
    let check = |i: usize| {
        let ((file, at), bit) = (bytes[i / 8], (i % 8) as u8);
        if !wanted(at).contains(&bit) {
            return Ok(());
        }
        let mut image = truth.image.clone();
        let mut byte = [0];
        image.files[file].read(at, &mut byte);
        image.files[file].write(at, &[byte[0] ^ (1 << bit)]);
        flipped.fetch_add(1, Ordering::Relaxed);
        let fate = caught(|| truth.fate(&image, file));
        let fate = fate.map_err(|e| (format!("bit {bit} of byte {at} of {}: {e}", truth.name(file)), image))?;
        counts[fate as usize].fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let outcome = try_all(8 * bytes.len(), check, dump);
    let [refused, reported, harmless] = counts.map(AtomicUsize::into_inner);
    let unread = 8 * (len_bytes - bytes.len());
    Flips { flipped: flipped.into_inner(), unread, refused, reported, harmless, silent: outcome.lost, failures: outcome.failures }
}

/// What is answered when the last record is torn.
fn without_last_record(lived: &Lived) -> Answer {
    let events = lived.life.disk.events();
    let is_write = |e: &Event| matches!(e, Event::Write { .. });
    let last = events.iter().rposition(is_write).unwrap();
    let mut image = lived.start.image.clone();
    events[..last].iter().for_each(|e| image.play(e));
    Answer::of(&Disk::at(image).open(Access::Read).unwrap()).unwrap()
}

impl Truth {
    fn name(&self, file: usize) -> &str {
        self.image.names.iter().find(|(_, n)| **n == file).map_or("nothing", |(name, _)| name)
    }

    /// The bytes that opening for reading or for writing reads: file and offset.
    fn bytes_read(&self) -> Vec<(usize, usize)> {
        let mut read: Vec<Vec<bool>> = self.image.files.iter().map(|f| vec![false; f.len()]).collect();
        for access in [Access::Read, Access::Write] {
            let disk = Disk::at(self.image.clone());
            disk.watch_reads();
            Answer::of(&disk.open(access).unwrap()).unwrap();
            disk.read_ranges().into_iter().for_each(|(file, range)| read[file][range].fill(true));
        }
        let of_file = |(file, read): (usize, &Vec<bool>)| {
            let bytes = read.iter().enumerate().filter(|(_, read)| **read).map(|(at, _)| (file, at));
            bytes.collect::<Vec<_>>()
        };
        read.iter().enumerate().flat_map(of_file).collect()
    }

    /// What becomes of a damaged image; an error when it answers something else without a word.
    fn fate(&self, image: &Snapshot, file: usize) -> Check<Fate> {
        let fates = [self.opened(image, Access::Read)?, self.opened(image, Access::Write)?];
        let refused = fates.contains(&Fate::Refused);
        ensure(!refused || fates[0] == fates[1], || "only one of reader and writer refuses".into())?;
        let twice = !self.name(file).starts_with("chunks");
        ensure(!twice || fates == [Fate::Harmless; 2], || format!("there is another copy, but {fates:?}"))?;
        Ok(if refused {
            Fate::Refused
        } else if fates.contains(&Fate::Reported) {
            Fate::Reported
        } else {
            Fate::Harmless
        })
    }

    fn opened(&self, image: &Snapshot, access: Access) -> Check<Fate> {
        let disk = Disk::at(image.clone());
        let Ok(adapter) = disk.open(access) else { return Ok(Fate::Refused) };
        let answer = Answer::of(&adapter)?;
        let (damaged, recovery) = (adapter.damaged_chunks(), adapter.recovery());
        drop(adapter);
        let one_less = matches!(recovery, Recovery::RolledBack { .. }) && answer.generation != self.answer.generation;
        let truth = if one_less { &self.one_less } else { &self.answer };
        let what = || format!("{access:?}: generation {}, {recovery}, {damaged} damaged chunks", answer.generation);
        ensure(answer.generation == truth.generation && answer.sums == truth.sums, || format!("other statistics: {}", what()))?;
        if damaged > 0 {
            let known = |row: &Lying| truth.rows.binary_search_by_key(&row.0, |r| r.0).is_ok_and(|i| truth.rows[i] == *row);
            ensure(answer.rows.iter().all(known), || format!("other rows: {}", what()))?;
        } else {
            ensure(answer.rows == truth.rows, || format!("other rows: {}", what()))?;
        }
        if disk.events().iter().any(|e| matches!(e, Event::Write { .. })) {
            // What was mended stays so.
            let again = disk.open(Access::Read).map_err(|e| format!("after mending: {e}"))?;
            ensure(Answer::of(&again)?.sums == truth.sums, || "other statistics after mending".into())?;
        }
        Ok(if damaged > 0 || recovery != Recovery::Clean { Fate::Reported } else { Fate::Harmless })
    }
}
