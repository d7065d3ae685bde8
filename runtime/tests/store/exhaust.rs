//! Trying every image of a life, on two threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheatear::store::Access;

use crate::cuts::{Depth, Distinct, Moments};
use crate::disk::{Disk, Event};
use crate::pages::Snapshot;
use crate::script::{Lived, header};
use crate::survive::{Expected, look};

const THREADS: usize = 2;
/// So many failures of one life are described; all are counted.
const DESCRIBED_MAX: usize = 5;

/// What came of trying many images.
#[derive(Debug, Default)]
pub struct Outcome {
    pub images: usize,
    pub lost: usize,
    pub failures: Vec<String>,
}

impl Outcome {
    pub fn add(&mut self, other: Outcome) {
        self.images += other.images;
        self.lost += other.lost;
        self.failures.extend(other.failures);
    }
}

/// Runs `check` on `0..count`; a panic is a failure like any other. A failing image lands in `dump`.
pub fn try_all(count: usize, check: impl Fn(usize) -> Result<(), (String, Snapshot)> + Sync, dump: Option<&Path>) -> Outcome {
    let (next, lost, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                break;
            }
            if let Err((what, image)) = check(i) {
                let nth = lost.fetch_add(1, Ordering::Relaxed);
                if nth < DESCRIBED_MAX {
                    let place = dump.map(|folder| write_out(&image, &folder.join(format!("image-{nth}"))));
                    failures.lock().unwrap().push(format!("{what}{}", place.unwrap_or_default()));
                }
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    Outcome { images: count, lost: lost.into_inner(), failures: failures.into_inner().unwrap() }
}

/// Runs `check`; a panic becomes a text.
pub fn caught<T>(check: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn write_out(image: &Snapshot, folder: &PathBuf) -> String {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| image.names.iter().try_for_each(|(name, n)| std::fs::write(folder.join(name), image.files[*n].to_vec())));
    match written {
        Ok(()) => format!("; its files: {}", folder.display()),
        Err(e) => format!("; its files cannot be written: {e}"),
    }
}

/// Every image of a life at every moment.
pub fn power_cuts(lived: &Lived, depth: Depth, dump: Option<&Path>) -> Outcome {
    let (events, diary) = (lived.life.disk.events(), &lived.life.diary);
    let moments = Moments::new(&lived.start.image, &events);
    let mut images = Distinct::default();
    for at in 0..moments.count() {
        let promised = diary.promised(at, false);
        moments.cuts(at, depth, &mut |cut| images.add(&moments, cut, promised));
        // A process that is killed loses nothing that it has acknowledged.
        images.add(&moments, moments.whole(at), diary.promised(at, true));
    }
    let creating = (!diary.stands).then(|| header(diary.dim));
    let expected = Expected { diary, seen: shown(&moments), creating };
    let check = |i: usize| {
        let (cut, promised) = &images.cuts[i];
        let image = moments.image(cut);
        let checked = caught(|| expected.check(&image, *promised, diary.attempted(cut.at)));
        checked.map(|_| ()).map_err(|e| (format!("{}, {}: {}: {e}", lived.name, diary.doing(cut.at), moments.describe(cut)), image))
    };
    try_all(images.cuts.len(), check, dump)
}

/// What the adapter shows at each generation when all writes arrive.
fn shown(moments: &Moments<'_>) -> BTreeMap<u64, crate::survive::Seen> {
    let readers = (0..moments.count()).filter_map(|at| Disk::at(moments.image(&moments.whole(at))).open(Access::Read).ok());
    readers.filter_map(|reader| Some((reader.generation(), look(&reader).ok()?))).collect()
}

/// Names of what happened, for counting.
pub fn carried(events: &[Event]) -> usize {
    let is_carry = |bytes: &[u8]| bytes.len() > 7 && bytes[..4] == *b"WHTR" && bytes[6..8] == [24, 0];
    let record = |e: &&Event| match e {
        Event::Write { bytes, .. } => is_carry(bytes) || bytes.get(512..).is_some_and(is_carry),
        _ => false,
    };
    events.iter().filter(record).count()
}
