//! An adapter's files as a wreck: verifying and salvaging them gives an answer or an error and writes nothing, and what is
//! salvaged is an adapter that opens, verifies and counts what was promised.

use wheatear::store::{Access, Adapter, Salvage};

use super::adapter::{self, disk};
use super::lives::OWN;
use super::memory::Disk;

/// Takes `data` as changes to a good adapter.
pub fn run(data: &[u8]) {
    let Some((wreck, _, case)) = disk(data) else { return };
    let untouched = wreck.files();
    let opened = wreck.open(Access::Read);
    let verified = Adapter::verify_in(&wreck.folder());
    match (&opened, &verified) {
        (Ok(adapter), Ok(verified)) => {
            let broken = adapter.damaged_chunks() > 0;
            // A forged list can name a slot twice.
            assert!(case.forged || !(broken && verified.is_clean()), "damage that opening found is not in the findings");
        }
        (Err(_), Err(_)) => {}
        _ => panic!("opening and verifying disagree: {:?}", verified.map(|v| v.findings)),
    }
    let salvage = Salvage::read(&*wreck.folder(), None);
    assert!(wreck.files() == untouched, "looking at it writes nothing");
    let Ok(salvage) = salvage else { return };
    // What cannot be known (was this row taken back by a record that is gone?) is said, and may turn out either way.
    let (promised, sure) = (salvage.report().held_rows, salvage.report().unknown.is_empty());
    let made = Disk::default();
    // A forged incarnation may be the last there is.
    let Ok(restored) = salvage.restore_in(made.folder(), *b"salvaged adapter", OWN.incarnation ^ 0x5a5a) else { return };
    assert_eq!(restored.held_rows(), promised, "rows that were promised");
    let digest = restored.statistics_digest().ok();
    drop(restored);
    let again = made.open(Access::Write).expect("what was salvaged opens");
    assert_eq!(again.statistics_digest().ok(), digest);
    let verified = Adapter::verify_in(&made.folder()).expect("what was salvaged opens");
    // Whoever forges a root can leave statistics out of it.
    assert!(case.forged || !sure || verified.is_clean(), "what was salvaged is whole: {}, {:?}", verified.recovery, verified.findings);
}

/// Those of the adapter itself.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    adapter::seeds()
}
