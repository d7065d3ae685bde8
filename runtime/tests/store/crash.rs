//! Power cuts at every moment of a small life; `cargo xtask crash` tries those of longer ones.

use crate::exhaust::{Outcome, power_cuts};
use crate::script::stories;

#[test]
fn a_power_cut_at_any_moment_keeps_all_that_was_durable_and_nothing_half() {
    let mut all = Outcome::default();
    for story in stories(true) {
        for lived in story.live() {
            let t = std::time::Instant::now();
            let o = power_cuts(&lived, None);
            eprintln!(
                "{}: {} images {} lost {:?} calls {} events {} carried {}",
                lived.name,
                o.images,
                o.lost,
                t.elapsed(),
                lived.life.diary.calls.len(),
                lived.life.disk.operations(),
                crate::exhaust::carried(&lived.life.disk.events())
            );
            all.add(o);
        }
    }
    assert!(all.lost == 0, "{} of {} images: {:#?}", all.lost, all.images, all.failures);
}
