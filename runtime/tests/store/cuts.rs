//! What a power cut can leave of a disk: every image, at every moment.
//!
//! Between two syncs of a file its writes may arrive or not, in any combination, and one of them may be torn; what happened
//! to names since the folder was synced may have happened or not. With at most eight operations that were not
//! synced every combination is made; with more of them every prefix, and all but any one. Of each image each write
//! in it is torn, one at a time, at every boundary of 512 bytes on the disk and one byte to either side of it, and one byte
//! from its ends; either the part in front arrived or the one behind.

use std::collections::HashMap;

use crate::disk::Event;
use crate::pages::Snapshot;

const SECTOR_LEN_BYTES: usize = 512;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// With more unsynced operations than these, not every combination of them is tried.
    pub all_subsets_max: usize,
    /// Writes are torn.
    pub torn: bool,
}

/// Everything that a power cut can do.
pub const EVERYTHING: Depth = Depth { all_subsets_max: 8, torn: true };
/// As much as there is time for in a test.
pub const LITTLE: Depth = Depth { all_subsets_max: 4, torn: true };

/// One thing that a power cut can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Operations before it.
    pub at: usize,
    /// One bit for each operation that was not synced, oldest first: whether it happened.
    pub kept: u64,
    /// Of that one of them only these bytes arrived: number, first, end.
    pub torn: Option<(u32, u32, u32)>,
}

/// Everything that happened on a disk, cut at any moment.
pub struct Moments<'a> {
    events: &'a [Event],
    /// What is certainly there after so many operations, and those that may be missing.
    settled: Vec<(Snapshot, Vec<usize>)>,
}

impl<'a> Moments<'a> {
    pub fn new(start: &Snapshot, events: &'a [Event]) -> Moments<'a> {
        let (mut certain, mut open) = (start.clone(), Vec::<usize>::new());
        let mut settled = vec![(certain.clone(), open.clone())];
        for (i, event) in events.iter().enumerate() {
            let now_certain = |open: &usize| match (event, &events[*open]) {
                (Event::Sync { file }, Event::Write { file: written, .. }) => file == written,
                (Event::SyncFolder, Event::Create { .. } | Event::Rename { .. } | Event::Remove { .. }) => true,
                _ => false,
            };
            open.iter().filter(|i| now_certain(i)).for_each(|i| play(&mut certain, &events[*i]));
            open.retain(|i| !now_certain(i));
            match event {
                Event::Sync { .. } | Event::SyncFolder => {}
                Event::Create { file, len_bytes, .. } => {
                    certain.make_file(*file, *len_bytes);
                    open.push(i);
                }
                _ => open.push(i),
            }
            settled.push((certain.clone(), open.clone()));
        }
        Moments { events, settled }
    }

    /// Moments: one more than operations.
    pub fn count(&self) -> usize {
        self.settled.len()
    }

    /// Everything happened that was asked for: what a killed process leaves.
    pub fn whole(&self, at: usize) -> Cut {
        Cut { at, kept: all(self.settled[at].1.len()), torn: None }
    }

    /// Length of the last operation that may be missing after `at` operations, if that is a write.
    pub fn last_write_len(&self, at: usize) -> Option<u32> {
        match &self.events[*self.settled[at].1.last()?] {
            Event::Write { bytes, .. } => Some(bytes.len() as u32),
            _ => None,
        }
    }

    /// The disk after it.
    pub fn image(&self, cut: &Cut) -> Snapshot {
        let (certain, open) = &self.settled[cut.at];
        let mut image = certain.clone();
        for (i, event) in open.iter().map(|i| &self.events[*i]).enumerate().filter(|(i, _)| cut.kept >> i & 1 == 1) {
            match (event, cut.torn) {
                (Event::Write { file, offset, bytes }, Some((torn, from, to))) if torn as usize == i => {
                    image.files[*file].write(offset + from as usize, &bytes[from as usize..to as usize]);
                }
                _ => play(&mut image, event),
            }
        }
        image
    }

    /// All that a power cut can do after `at` operations.
    pub fn cuts(&self, at: usize, depth: Depth, visit: &mut dyn FnMut(Cut)) {
        let open = &self.settled[at].1;
        for kept in subsets(open.len(), depth.all_subsets_max) {
            if !self.is_possible(at, kept) {
                continue;
            }
            visit(Cut { at, kept, torn: None });
            for (i, event) in open.iter().map(|i| &self.events[*i]).enumerate().filter(|(i, _)| depth.torn && kept >> i & 1 == 1) {
                if let Event::Write { offset, bytes, .. } = event {
                    for point in tears(*offset, bytes.len()) {
                        visit(Cut { at, kept, torn: Some((i as u32, 0, point as u32)) });
                        visit(Cut { at, kept, torn: Some((i as u32, point as u32, bytes.len() as u32)) });
                    }
                }
            }
        }
    }

    /// A file is renamed or removed only where it is.
    fn is_possible(&self, at: usize, kept: u64) -> bool {
        let (certain, open) = &self.settled[at];
        let mut names: Vec<&str> = certain.names.keys().map(String::as_str).collect();
        for event in open.iter().enumerate().filter(|(i, _)| kept >> i & 1 == 1).map(|(_, i)| &self.events[*i]) {
            let gone = match event {
                Event::Create { name, .. } => {
                    names.push(name);
                    continue;
                }
                Event::Rename { from, to } => {
                    names.push(to);
                    from
                }
                Event::Remove { name } => name,
                _ => continue,
            };
            if !names.contains(&gone.as_str()) {
                return false;
            }
            names.retain(|n| n != gone);
        }
        true
    }

    /// What the cut did, for a person.
    pub fn describe(&self, cut: &Cut) -> String {
        let open = &self.settled[cut.at].1;
        let parts = open.iter().enumerate().map(|(i, event)| {
            let arrived = match cut.torn {
                Some((torn, from, to)) if torn as usize == i => format!("only bytes {from}..{to} of"),
                _ if cut.kept >> i & 1 == 1 => "all of".into(),
                _ => "nothing of".into(),
            };
            let what = match &self.events[*event] {
                Event::Write { file, offset, bytes } => format!("{} bytes at {offset} of file {file}", bytes.len()),
                other => format!("{other:?}"),
            };
            format!("{arrived} [{what}]")
        });
        format!("power cut after {} operations: {}", cut.at, parts.collect::<Vec<_>>().join(", "))
    }
}

/// Each image of a life once, with the strictest promise under which it can be found.
#[derive(Default)]
pub struct Distinct {
    found: HashMap<[u8; 32], usize>,
    pub cuts: Vec<(Cut, Option<(usize, u64)>)>,
}

impl Distinct {
    pub fn add(&mut self, moments: &Moments<'_>, cut: Cut, promised: Option<(usize, u64)>) {
        let next = self.cuts.len();
        let at = *self.found.entry(moments.image(&cut).digest()).or_insert(next);
        if at == next {
            self.cuts.push((cut, promised));
        } else if self.cuts[at].1 < promised {
            // The description is that of the moment with the strictest promise.
            self.cuts[at] = (cut, promised);
        }
    }
}

fn play(image: &mut Snapshot, event: &Event) {
    match event {
        // Its bytes are there whether its name is or not.
        Event::Create { name, file, .. } => {
            image.names.insert(name.clone(), *file);
        }
        other => image.play(other),
    }
}

fn all(count: usize) -> u64 {
    assert!(count < 64, "{count} operations without a sync");
    (1 << count) - 1
}

fn subsets(count: usize, all_subsets_max: usize) -> Vec<u64> {
    if count <= all_subsets_max {
        return (0..=all(count)).collect();
    }
    let prefixes = (0..=count).map(all);
    let single_drops = (0..count - 1).map(|i| all(count) & !(1 << i));
    prefixes.chain(single_drops).collect()
}

/// Where a write of `len` bytes at `offset` of its file can be torn.
fn tears(offset: usize, len: usize) -> Vec<usize> {
    let first = offset.next_multiple_of(SECTOR_LEN_BYTES);
    let boundaries = (first..=offset + len).step_by(SECTOR_LEN_BYTES).map(|b| b as i64 - offset as i64);
    let mut points: Vec<i64> = boundaries.flat_map(|b| [b - 1, b, b + 1]).chain([1, len as i64 - 1]).collect();
    points.retain(|p| *p > 0 && *p < len as i64);
    points.sort();
    points.dedup();
    points.into_iter().map(|p| p as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_torn_at_the_sectors_of_the_disk_and_beside_them() {
        assert_eq!(tears(500, 600), [1, 11, 12, 13, 523, 524, 525, 599]);
        assert_eq!(tears(512, 512), [1, 511]);
        assert_eq!(tears(16, 1), [] as [usize; 0]);
    }

    #[test]
    fn beyond_eight_operations_every_prefix_and_every_single_loss_is_made() {
        assert_eq!(subsets(3, 8).len(), 8);
        assert_eq!(subsets(9, 8).len(), 10 + 8);
        assert!(subsets(9, 8).contains(&0b1_1111_1011));
    }

    #[test]
    fn a_name_is_replaced_only_when_the_new_file_was_made_and_writes_stay_where_their_file_is() {
        let create = |name: &str, file| Event::Create { name: name.into(), file, len_bytes: 4 + file };
        let events = [
            create("a", 0),
            Event::Write { file: 0, offset: 0, bytes: vec![1, 2] },
            Event::SyncFolder,
            create("b", 1),
            Event::Rename { from: "b".into(), to: "a".into() },
        ];
        let moments = Moments::new(&Snapshot::default(), &events);
        let mut images = Distinct::default();
        moments.cuts(5, Depth { torn: false, ..EVERYTHING }, &mut |cut| images.add(&moments, cut, None));
        let found: Vec<Vec<String>> = images.cuts.iter().map(|(c, _)| moments.image(c).names.into_keys().collect()).collect();
        // With the first file written to or not: it alone, the second beside it; and the second in its place.
        assert_eq!(found, [vec!["a"], vec!["a"], vec!["a", "b"], vec!["a", "b"], vec!["a"]]);
    }
}
