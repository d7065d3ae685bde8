//! A daemon that hears and has nothing to tell allocates nothing, on any of its threads, once it runs: the queues, the windows, the picture
//! and what is held for late labels were made at the start. What a head and the backbone do is tested in `window_heap`; events are made
//! as they come, on the thread that tells.

#![cfg(feature = "capture")]

mod desk;

use std::alloc::System;
use std::time::Instant;

use cap::Cap;
use desk::*;
use wheatear::daemon::Settings;

/// Counts what is asked for. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Seconds of sound before anything is counted: windows, columns and the ring have all been round.
const START_S: usize = 8;
const COUNTED_S: usize = 20;

#[test]
fn a_daemon_that_hears_and_has_nothing_to_tell_allocates_nothing() {
    let mut desk = Desk::with(1, vec![], false, &Settings { picture: true, recent_s: 5, ..Settings::default() });
    let block: Vec<f32> = (0..480).map(|i| 0.3 * (i as f32 * 0.2).sin()).collect();
    let hear = |desk: &mut Desk, seconds: usize| {
        (0..seconds * RATE_HZ as usize / block.len()).for_each(|_| desk.feed(0, &block));
        // Until the last block was taken.
        let until = Instant::now() + LONG;
        while !desk.feeds[0].has_room(39_000) {
            assert!(Instant::now() < until, "nobody takes the sound");
            std::thread::yield_now();
        }
    };
    hear(&mut desk, START_S);
    let before = HEAP.total_allocated();
    hear(&mut desk, COUNTED_S);
    let allocated = HEAP.total_allocated() - before;
    let counts = desk.daemon().handle().counts().unwrap();
    assert!(counts.windows as usize >= (START_S + COUNTED_S) * RATE_HZ as usize / HOP - 8, "{counts:?}");
    assert_eq!(allocated, 0, "bytes for {COUNTED_S} s of sound");
}
