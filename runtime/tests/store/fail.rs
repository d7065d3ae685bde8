//! Every operation of the disk failing, once and for ever, at every moment of a life: what fails is said with what to do, it
//! stops the writer before it makes things worse, and what was durable is there when it is opened again.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheatear::store::{Access, Durability};
use wheatear::{Error, ErrorKind};

use crate::cuts::{Depth, Distinct, Moments};
use crate::diary::Life;
use crate::disk::Disk;
use crate::exhaust::{Outcome, caught, try_all};
use crate::pages::Snapshot;
use crate::script::{Lived, header};
use crate::survive::{Check, Expected, ensure, look};
use crate::world::{batch, row, sums_of, teach};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// Once or for ever, and why.
const FAULTS: [(bool, i32); 4] = [(false, EIO), (false, ENOSPC), (true, EIO), (true, ENOSPC)];

/// Every write, sync, creation, renaming and removal fails: once and for ever, for want of space and for a bad disk.
pub fn failing_changes(lived: &Lived, few: bool, dump: Option<&Path>) -> Outcome {
    let operations = lived.life.disk.operations();
    let faults = if few { 1 } else { FAULTS.len() };
    let check = |i: usize| {
        let n = i / faults;
        let (for_ever, errno) = FAULTS[if few { n % FAULTS.len() } else { i % faults }];
        let mut life = lived.start.life();
        life.disk.fail_at(n, for_ever, errno);
        let checked = caught(|| {
            let error = (lived.script)(&mut life).err().ok_or("the failure is not reported")?;
            ensure(life.disk.failed(), || format!("another failure: {error}"))?;
            speaks(&error)?;
            stands_still(&mut life)?;
            survives(lived, &life, few)
        });
        let image = life.disk.snapshot();
        checked.map_err(|e| (format!("{}: operation {n} fails (for ever: {for_ever}, errno {errno}): {e}", lived.name), image))
    };
    try_all(operations * faults, check, dump)
}

/// Every read fails: once and for ever.
pub fn failing_reads(lived: &Lived, dump: Option<&Path>) -> Outcome {
    let check = |i: usize| {
        let (n, for_ever) = (i / 2, i % 2 == 1);
        let mut life = lived.start.life();
        life.disk.fail_reading_at(n, for_ever, EIO);
        let checked = caught(|| {
            match (lived.script)(&mut life) {
                // Rows that cannot be read are missed: that was reported when it was opened.
                Err(e) if e.kind() != ErrorKind::Storage => ensure(life.damaged_chunks > 0, || format!("strange: {e}"))?,
                Err(e) => speaks(&e)?,
                Ok(()) => {}
            }
            life.disk.heal();
            survives(lived, &life, true)
        });
        let image = life.disk.snapshot();
        checked.map_err(|e| (format!("{}: read {n} fails (for ever: {for_ever}): {e}", lived.name), image))
    };
    try_all(2 * lived.life.disk.reads(), check, dump)
}

/// At each of `moments` of a life, opening it with every read failing once: an error or all that is there.
pub fn failing_to_open(lived: &Lived, every: usize, dump: Option<&Path>) -> Outcome {
    let events = lived.life.disk.events();
    let moments = Moments::new(&lived.start.image, &events);
    let counted = AtomicUsize::new(0);
    let check = |i: usize| {
        let at = (i * every).min(moments.count() - 1);
        let image = moments.image(&moments.whole(at));
        let checked: Check<()> = [Access::Read, Access::Write].into_iter().try_for_each(|access| {
            let reads = caught(|| opens_or_says(&image, access))?;
            counted.fetch_add(reads, Ordering::Relaxed);
            Ok(())
        });
        checked.map_err(|e| (format!("{}: after {at} operations: {e}", lived.name), image))
    };
    let outcome = try_all(moments.count().div_ceil(every), check, dump);
    Outcome { images: counted.into_inner(), ..outcome }
}

/// Returns how many reads were made to fail.
fn opens_or_says(image: &Snapshot, access: Access) -> Check<usize> {
    let whole = Disk::at(image.clone());
    // There may be none yet.
    let Ok(adapter) = whole.open(access) else { return Ok(0) };
    let reads = whole.reads();
    let (sums, seen) = (sums_of(&adapter), look(&adapter)?);
    drop(adapter);
    for n in 0..reads {
        let disk = Disk::at(image.clone());
        disk.fail_reading_at(n, false, EIO);
        let opened = disk.open(access);
        disk.heal();
        match opened {
            Err(e) => speaks(&e)?,
            Ok(adapter) => {
                ensure(sums_of(&adapter) == sums, || format!("read {n} fails ({access:?}): other statistics"))?;
                ensure(adapter.damaged_chunks() > 0 || look(&adapter)? == seen, || format!("read {n} fails ({access:?}): other rows"))?;
            }
        }
        let again = disk.open(access).map_err(|e| format!("after read {n} failed ({access:?}): {e}"))?;
        ensure(sums_of(&again) == sums && look(&again)? == seen, || format!("after read {n} failed ({access:?}): not all is there"))?;
    }
    Ok(reads)
}

/// The error says what failed and what to do.
fn speaks(error: &Error) -> Check<()> {
    let text = error.to_string();
    let cured = ["free some space", "check the disk", "open it again"].iter().any(|cure| text.contains(cure));
    ensure(error.kind() == ErrorKind::Storage && cured, || format!("{:?}: {text}", error.kind()))
}

/// The writer whose disk failed writes no more; one that was only making new files beside the old ones may go on.
fn stands_still(life: &mut Life) -> Check<()> {
    let rewriting = life.diary.calls.last().is_some_and(|c| c.rewrites);
    let row = row(0, life.diary.dim, crate::diary::BITS);
    let Some(adapter) = &mut life.adapter else { return Ok(()) };
    let batch = wheatear::store::Batch { origin: adapter.origin(), ..batch(0, false) };
    if rewriting && adapter.sync().is_ok() {
        return Ok(());
    }
    // What the old files were spared until now.
    let allowed = if rewriting { life.disk.after_failure() } else { 0 };
    let before = life.disk.operations();
    for tried in [teach(adapter, &batch, &[row], Durability::Now).map(|_| ()), adapter.sync(), adapter.checkpoint(), adapter.compact()] {
        let error = tried.err().ok_or("it goes on writing")?;
        speaks(&error)?;
    }
    ensure(life.disk.after_failure() == allowed && life.disk.operations() == before, || "something was written after the failure".into())
}

/// What was acknowledged is there when the adapter is opened again, and what was durable even after a power cut.
fn survives(lived: &Lived, life: &Life, few: bool) -> Check<()> {
    let diary = &life.diary;
    let events = life.disk.events();
    let moments = Moments::new(&lived.start.image, &events);
    let at = events.len();
    let mut images = Distinct::default();
    images.add(&moments, moments.whole(at), diary.promised(at, true));
    if !few {
        let depth = Depth { all_subsets_max: 4, torn: false };
        moments.cuts(at, depth, &mut |cut| images.add(&moments, cut, diary.promised(at, false)));
    }
    let expected = Expected { diary, seen: Default::default(), creating: (!diary.stands).then(|| header(diary.dim)) };
    images.cuts.iter().try_for_each(|(cut, promised)| {
        let checked = expected.check(&moments.image(cut), *promised, diary.attempted(at));
        checked.map(|_| ()).map_err(|e| format!("{}: {e}", moments.describe(cut)))
    })
}
