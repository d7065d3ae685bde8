//! Power cuts at every moment of a small life; `cargo xtask crash` tries those of longer ones.

use crate::again::{cut_recoveries, killed_writers};
use crate::cuts::{Depth, LITTLE};
use crate::exhaust::{Outcome, carried, power_cuts};
use crate::script::stories;

fn assert_none_lost(all: &Outcome) {
    assert!(all.lost == 0, "{} of {} images: {:#?}", all.lost, all.images, all.failures);
}

#[test]
fn a_power_cut_at_any_moment_keeps_all_that_was_durable_and_nothing_half() {
    let (mut all, mut carries) = (Outcome::default(), 0);
    for lived in stories(true).iter().flat_map(|story| story.live()) {
        carries += carried(&lived.life.disk.events());
        all.add(power_cuts(&lived, LITTLE, None));
    }
    assert_none_lost(&all);
    assert!(all.images > 8_000 && carries > 20, "{} images, {carries} records of carried rows", all.images);
}

#[test]
fn what_a_killed_writer_left_to_the_next_one_survives_a_power_cut() {
    let mut all = Outcome::default();
    for lived in stories(true).iter().flat_map(|story| story.live()).filter(|l| l.name.contains("teach") || l.name.contains("forget hard"))
    {
        all.add(killed_writers(&lived, Depth { all_subsets_max: 2, torn: false }));
    }
    assert_none_lost(&all);
    assert!(all.images > 500, "{} images", all.images);
}

#[test]
fn a_power_cut_while_another_one_is_mended_does_no_harm() {
    let mut all = Outcome::default();
    for lived in stories(true)
        .iter()
        .flat_map(|story| story.live())
        .filter(|l| ["teach", "correct", "roll back"].iter().any(|name| l.name.ends_with(name)))
    {
        all.add(cut_recoveries(&lived, Depth { all_subsets_max: 4, torn: true }));
    }
    assert_none_lost(&all);
    assert!(all.images > 500, "{} images", all.images);
}
