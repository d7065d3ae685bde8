//! In a daemon that hears with a real backbone and answers with a learned head, the thread that answers windows allocates nothing outside
//! the backbone's call, and inside it as much as in the call before. ONNX Runtime's own allocator is not seen here. Needs what
//! `cargo xtask setup` makes.

use std::alloc::System;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use cap::Cap;
use wheatear::learn::{ClassName, LabelSet};
use wheatear_tests::soak::clips::Clips;
use wheatear_tests::soak::gate::{HELD, Told, wait_until};
use wheatear_tests::soak::hour::{Fed, RATE_HZ};
use wheatear_tests::soak::tape::Tape;

/// Counts what is asked for. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Rounds of sound that are counted.
const ROUNDS: u64 = 2;

#[test]
fn the_thread_that_answers_windows_allocates_nothing_outside_the_backbones_call() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/assets");
    let assets = std::env::var_os("WHEATEAR_ASSETS").map_or(assets, Into::into);
    let mut fed = Fed::start(&assets.join("models/aisfx"), || HEAP.total_allocated()).unwrap_or_else(|e| panic!("{e}"));
    let mut tape = Tape::new(Clips::new(&[assets.join("sounds/instruments")], 1).unwrap_or_else(|e| panic!("{e}")), RATE_HZ);
    let mut samples = vec![0.0; fed.held_len()];
    let mut next = |samples: &mut [f32]| {
        tape.fill(samples).unwrap();
        tape.ended(samples.len()).cloned().collect::<Vec<_>>()
    };
    let clips = next(&mut samples);
    fed.hear(&samples).unwrap();
    let long = clips.iter().filter(|(_, clip)| clip.end - clip.start > 2 * u64::from(RATE_HZ));
    let [first, second, both] = long.take(3).collect::<Vec<_>>()[..] else { panic!("three long notes: {clips:?}") };
    let class = |clip: &(String, std::ops::Range<u64>)| ClassName::new(&clip.0).unwrap();
    // One of several labels brings the head that tells which are present at once.
    let labels = [
        (first, LabelSet::single(class(first))),
        (second, LabelSet::single(class(second))),
        (both, LabelSet::new([class(first), class(second)].into(), [].into()).unwrap()),
    ];
    for ((_, clip), labels) in labels {
        fed.learn((clip.start, clip.end), labels).unwrap_or_else(|e| panic!("{e}"));
    }
    wait_until("a head", || fed.gate.told().heads > 0).unwrap();
    next(&mut samples);
    fed.hear(&samples).unwrap();
    let Told { answered: before, .. } = fed.gate.told();
    for _ in 0..ROUNDS {
        next(&mut samples);
        fed.hear_held(&samples).unwrap();
    }
    let (tally, Told { answered, .. }) = (fed.tally.clone(), fed.gate.told());
    let (stretches, outside) = (tally.stretches.load(Relaxed), tally.outside.load(Relaxed));
    assert!(stretches >= ROUNDS * (HELD as u64 - 6), "{tally:?}");
    assert!(answered >= before + stretches, "{answered} windows answered, {before} before: {tally:?}");
    assert_eq!(outside, 0, "bytes for {stretches} windows");
    assert_eq!(tally.inside.0.load(Relaxed), tally.inside.1.load(Relaxed), "least and most bytes in a call");
    let (heard, lost) = fed.end().unwrap();
    assert_eq!((heard, lost), (4 * samples.len() as u64, 0));
}
