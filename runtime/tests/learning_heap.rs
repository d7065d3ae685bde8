//! The memory that solving and judging a head takes is what `learner::budget` says, from above and not by much.

use std::alloc::System;

use cap::Cap;
use wheatear::head::HeadKind;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};
use wheatear::learner::mixed::{self, Blocks, LabelSetRow};
use wheatear::learner::{self, Budget, Guard, LabelledRow, Sources, budget};

/// Counts what is there. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Rows of `classes`, of which each recording has `per_recording`.
fn taught(dim: usize, classes: usize, rows: usize, per_recording: usize) -> (Block, Vec<LabelledRow>) {
    let mut block = Block::new(BlockKind::Latents, dim).unwrap();
    let row = |n: usize| {
        let class = n / per_recording % classes;
        let latent: Vec<i8> = (0..dim).map(|i| (((class * 31 + i * 17) % 100 + (n + 1) * (i + 3) * 7919 % 41) as i64 - 70) as i8).collect();
        let class = ClassName::new(&format!("class {class}")).unwrap();
        LabelledRow { id: n as u64, latent, class, recording: (n / per_recording) as u64 }
    };
    let rows: Vec<LabelledRow> = (0..rows).map(row).collect();
    rows.iter().for_each(|r| block.add(&r.latent, &LabelSet::single(r.class.clone())).unwrap());
    (block, rows)
}

#[test]
fn solving_and_judging_a_head_takes_no_more_memory_than_the_budget_reckons() {
    // The most that was there is only known since the start: from small to large.
    let cases = [
        (96, 5, 400, 4),
        (256, 2, 40, 1),
        (256, 100, 400, 1),
        (512, 20, 400, 4),
        (512, 100, 400, 1),
        (1024, 10, 400, 4),
        (1280, 15, 400, 4),
    ];
    for (dim, classes, rows, per_recording) in cases {
        let (block, rows) = taught(dim, classes, rows, per_recording);
        let scale = vec![0.05; dim];
        let sources = Sources { block: &block, scale: &scale, rows: &rows, background: &[], expanded: None };
        let before = HEAP.allocated();
        let watched = watch(|| learner::solve(HeadKind::Auto, Guard::On, sources, &Budget::default()).unwrap());
        let (peak, reckoned) = (watched - before, budget::need_bytes(dim, classes, rows.len()) as usize);
        println!("D {dim}, {classes} classes, {} rows: {:.1} of {:.1} MB", rows.len(), peak as f64 / 1e6, reckoned as f64 / 1e6);
        assert!(peak <= reckoned, "D {dim}, {classes} classes, {} rows: {peak} bytes, reckoned {reckoned}", rows.len());
        // What tells presence is solved after the head, and takes no more.
        let set = |labels: LabelSet| LabelSetRow { id: 0, latent: rows[0].latent.clone(), labels, recording: 0 };
        let mut sets: Vec<LabelSetRow> =
            rows.iter().map(|r| LabelSetRow { id: r.id, recording: r.recording, ..set(LabelSet::single(r.class.clone())) }).collect();
        let several = set(LabelSet::new([rows[0].class.clone(), rows[rows.len() - 1].class.clone()].into(), [].into()).unwrap());
        let mut mixed = Block::new(BlockKind::Mixed, dim).unwrap();
        mixed.add(&several.latent, &several.labels).unwrap();
        sets.push(LabelSetRow { id: u64::MAX, recording: u64::MAX, ..several });
        let blocks = Blocks { latents: &block, mixed: &mixed, background: None, holds_several: true };
        let before = HEAP.allocated();
        assert!(mixed::solve(blocks, &scale, &sets, &[]).unwrap().is_some());
        let most = HEAP.max_allocated() - before;
        assert!(most <= reckoned, "presence at D {dim}, {classes} classes: {most} bytes, reckoned {reckoned}");
        assert!(3 * peak >= reckoned, "D {dim}, {classes} classes, {} rows: {peak} bytes, reckoned {reckoned}", rows.len());
    }
}

/// The most that was there while `work` ran.
fn watch<T>(work: impl FnOnce() -> T) -> usize {
    let before = HEAP.max_allocated();
    let result = work();
    let peak = HEAP.max_allocated();
    drop(result);
    assert!(peak > before, "an earlier, larger work hides this one's peak");
    peak
}
