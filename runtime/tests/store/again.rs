//! Two faults, one after the other: a writer that is killed or whose power is cut, the next one that opens what is left and
//! goes on, and then a power cut at every moment of that.

use std::collections::BTreeMap;

use wheatear::Result;
use wheatear::store::{Access, Durability};

use crate::cuts::{Cut, Depth, Distinct, Moments};
use crate::diary::{Diary, Life};
use crate::disk::{Disk, Event};
use crate::exhaust::{Outcome, caught, try_all};
use crate::pages::Snapshot;
use crate::script::{Lived, header};
use crate::survive::Expected;
use crate::world::{batch, bulky};

/// What the first fault left.
struct Left {
    image: Snapshot,
    /// Where the disk began and what it did, for what is not durable yet.
    start: Snapshot,
    events: Vec<Event>,
    diary: Diary,
    what: String,
}

/// A writer that is killed at any moment: what it wrote is there, but only some of it is durable. The next one opens it,
/// writes a checkpoint and teaches so much that a chunk may have to be begun.
pub fn killed_writers(lived: &Lived, depth: Depth) -> Outcome {
    let (events, diary) = (lived.life.disk.events(), &lived.life.diary);
    let moments = Moments::new(&lived.start.image, &events);
    let left = |at: usize| {
        let (image, start) = (moments.image(&moments.whole(at)), lived.start.image.clone());
        let what = format!("{}: killed after {at} operations", lived.name);
        let diary = found(&image, diary, at)?;
        Some(Left { image, start, events: events[..at].to_vec(), diary, what })
    };
    go_on(moments.count(), left, depth, |life| {
        life.learn(1, batch(0, false), Durability::Later)?;
        life.checkpoint()?;
        life.learn(1, bulky(25_000), Durability::Now)
    })
}

/// A power cut that leaves something to be mended, and another one while the next writer does so. Of the first each
/// combination of writes is tried, of which none is torn but the last of those that are alone.
pub fn cut_recoveries(lived: &Lived, depth: Depth) -> Outcome {
    let (events, diary) = (lived.life.disk.events(), &lived.life.diary);
    let moments = Moments::new(&lived.start.image, &events);
    let mut images = Distinct::default();
    for at in 0..moments.count() {
        moments.cuts(at, Depth { torn: false, ..depth }, &mut |cut| images.add(&moments, cut, None));
        torn_in_half(&moments, at).into_iter().for_each(|cut| images.add(&moments, cut, None));
    }
    let left = |i: usize| {
        let (cut, _) = &images.cuts[i];
        let image = moments.image(cut);
        let disk = Disk::at(image.clone());
        drop(disk.open(Access::Write).ok()?);
        let mended = disk.events().iter().any(|e| !matches!(e, Event::Sync { .. } | Event::SyncFolder));
        let diary = found(&image, diary, cut.at).filter(|_| mended)?;
        let what = format!("{}: {}", lived.name, moments.describe(cut));
        // What it left is durable; no operation is younger than the promises made before.
        Some(Left { start: image.clone(), image, events: Vec::new(), diary: diary.forgets_time(cut.at), what })
    };
    go_on(images.cuts.len(), left, depth, |life| life.learn(1, batch(0, false), Durability::Now))
}

/// The last write torn in half, all before it there.
fn torn_in_half(moments: &Moments<'_>, at: usize) -> Vec<Cut> {
    let whole = moments.whole(at);
    let Some(len) = moments.last_write_len(at) else { return Vec::new() };
    let last = 63 - whole.kept.leading_zeros();
    [(0, len / 2), (len / 2, len)].map(|(from, to)| Cut { torn: Some((last, from, to)), ..whole }).to_vec()
}

/// The diary of one who opens `image`, left after `at` operations; `None` when there is no adapter.
fn found(image: &Snapshot, diary: &Diary, at: usize) -> Option<Diary> {
    let reader = Disk::at(image.clone()).open(Access::Read).ok()?;
    let state = diary.find(&reader, diary.attempted(at))?;
    Some(diary.interrupted(at, state, reader.generation()))
}

/// Goes on with what is left, and cuts the power at every moment from there.
fn go_on(
    count: usize,
    left: impl Fn(usize) -> Option<Left> + Sync,
    depth: Depth,
    script: impl Fn(&mut Life) -> Result<()> + Sync,
) -> Outcome {
    let counted = std::sync::atomic::AtomicUsize::new(0);
    let check = |i: usize| {
        let Some(left) = left(i) else { return Ok(()) };
        let lost = |e: String, image: &Snapshot| (format!("{}, then {e}", left.what), image.clone());
        let mut life =
            Life { disk: Disk::after(left.image.clone(), &left.events), adapter: None, diary: left.diary.clone(), damaged_chunks: 0 };
        let lived = caught(|| life.open().and_then(|()| script(&mut life)).map_err(|e| e.to_string()));
        lived.map_err(|e| lost(e, &left.image))?;
        let (events, diary) = (life.disk.events(), &life.diary);
        let moments = Moments::new(&left.start, &events);
        let mut images = Distinct::default();
        for at in left.events.len()..moments.count() {
            let promised = diary.promised(at, false);
            moments.cuts(at, depth, &mut |cut| images.add(&moments, cut, promised));
        }
        counted.fetch_add(images.cuts.len(), std::sync::atomic::Ordering::Relaxed);
        let creating = (!diary.stands).then(|| header(diary.dim));
        let expected = Expected { diary, seen: BTreeMap::new(), creating };
        images.cuts.iter().try_for_each(|(cut, promised)| {
            let image = moments.image(cut);
            let checked = caught(|| expected.check(&image, *promised, diary.attempted(cut.at)));
            checked.map(|_| ()).map_err(|e| lost(format!("{}: {e}", moments.describe(cut)), &image))
        })
    };
    let outcome = try_all(count, check, None);
    Outcome { images: counted.into_inner(), ..outcome }
}
