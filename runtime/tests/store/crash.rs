//! Power cuts at every moment of a small life; `cargo xtask crash` tries those of longer ones.

use crate::cuts::LITTLE;
use crate::exhaust::{Outcome, carried, power_cuts};
use crate::script::stories;

#[test]
fn a_power_cut_at_any_moment_keeps_all_that_was_durable_and_nothing_half() {
    let (mut all, mut carries) = (Outcome::default(), 0);
    for lived in stories(true).iter().flat_map(|story| story.live()) {
        carries += carried(&lived.life.disk.events());
        all.add(power_cuts(&lived, LITTLE, None));
    }
    assert!(all.lost == 0, "{} of {} images: {:#?}", all.lost, all.images, all.failures);
    assert!(all.images > 10_000 && carries > 20, "{} images, {carries} records of carried rows", all.images);
}
