//! The heads and the blocks under them on real embeddings, against scores from an independent numpy implementation
//! (tests/golden/heads.py).

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use wheatear::head::naive::{NaiveConfig, NaiveHead};
use wheatear::head::{Head, Moments, SolvedHead, argmax};
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};

const DIM: usize = 512;

#[derive(serde::Deserialize)]
struct Golden {
    names: Vec<String>,
    y: Vec<usize>,
    scale: Vec<f32>,
    chunks: Vec<Vec<usize>>,
    test: Vec<usize>,
    scores: BTreeMap<String, Vec<Vec<f64>>>,
}

struct Real {
    golden: Golden,
    latents: Vec<i8>,
}

impl Real {
    fn load() -> Real {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests");
        let golden = serde_json::from_str(&std::fs::read_to_string(tests.join("golden/heads.json")).unwrap()).unwrap();
        let latents: Vec<i8> = std::fs::read(tests.join("data/sonicpi.i8")).unwrap().into_iter().map(|b| b as i8).collect();
        assert_eq!(latents.len(), 133 * DIM);
        Real { golden, latents }
    }

    fn class(&self, row: usize) -> ClassName {
        ClassName::new(&self.golden.names[self.golden.y[row]]).unwrap()
    }

    fn row(&self, row: usize) -> &[i8] {
        &self.latents[row * DIM..(row + 1) * DIM]
    }

    fn value(&self, row: usize) -> Vec<f32> {
        self.row(row).iter().zip(&self.golden.scale).map(|(q, s)| f32::from(*q) * s).collect()
    }

    fn block(&self, rows: &[usize]) -> Block {
        let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
        self.add(&mut block, rows);
        block
    }

    fn add(&self, block: &mut Block, rows: &[usize]) {
        let latents: Vec<i8> = rows.iter().flat_map(|i| self.row(*i)).copied().collect();
        let labels: Vec<LabelSet> = rows.iter().map(|i| LabelSet::single(self.class(*i))).collect();
        block.add_chunk(&latents, &labels).unwrap();
    }

    fn compare(&self, head: &dyn Head, tolerance: f64) {
        let golden = &self.golden.scores[head.name()];
        // Golden columns are in the order of the names; the head's classes in canonical order.
        let column: Vec<usize> = head.classes().iter().map(|c| self.golden.names.iter().position(|n| n == c.as_str()).unwrap()).collect();
        let mut z = vec![0f32; column.len()];
        for (row, expected) in self.golden.test.iter().zip(golden) {
            head.scores(&self.value(*row), &mut z);
            let size = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            for (k, c) in column.iter().enumerate() {
                let error = (f64::from(z[k]) - expected[*c]).abs() / size;
                assert!(error <= tolerance, "{} row {row} class {c}: {} {}", head.name(), z[k], expected[*c]);
            }
            let best = expected.iter().enumerate().fold(0, |b, (i, v)| if *v > expected[b] { i } else { b });
            assert_eq!(column[argmax(&z)], best, "{} row {row}", head.name());
        }
    }
}

#[test]
fn solved_heads_give_the_scores_of_the_numpy_reference() {
    let real = Real::load();
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    real.golden.chunks.iter().for_each(|chunk| real.add(&mut block, chunk));
    let moments = Moments::new(&block, &real.golden.scale).unwrap();
    for kind in SolvedHead::ALL {
        real.compare(&kind.solve(&moments).unwrap(), 2e-5);
    }
}

#[test]
fn naive_sgd_follows_the_numpy_reference_step_by_step() {
    let real = Real::load();
    let mut head = NaiveHead::new(DIM, NaiveConfig { learning_rate: 0.003, ..NaiveConfig::default() });
    for chunk in &real.golden.chunks {
        let rows: Vec<f32> = chunk.iter().flat_map(|i| real.value(*i)).collect();
        let labels: Vec<ClassName> = chunk.iter().map(|i| real.class(*i)).collect();
        head.learn_chunk(&rows, &labels).unwrap();
    }
    real.compare(&head, 1e-4);
}

#[test]
fn a_head_solved_after_a_stream_is_the_head_solved_from_all_rows_at_once() {
    let real = Real::load();
    let mut streamed = Block::new(BlockKind::Latents, DIM).unwrap();
    real.golden.chunks.iter().for_each(|chunk| real.add(&mut streamed, chunk));
    let mut all = real.golden.chunks.concat();
    all.sort_unstable();
    let joint = real.block(&all);
    assert_eq!(streamed.to_canonical_bytes(), joint.to_canonical_bytes());
    for kind in SolvedHead::ALL {
        let solve = |b: &Block| kind.solve(&Moments::new(b, &real.golden.scale).unwrap()).unwrap();
        assert_eq!(solve(&streamed), solve(&joint), "{}", kind.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_order_and_partition_of_real_rows_gives_identical_bytes_past_32_bits(
        order in Just((0..133usize).collect::<Vec<_>>()).prop_shuffle(),
        owner in proptest::collection::vec(0..5usize, 133),
        merge_order in Just((0..5usize).collect::<Vec<_>>()).prop_shuffle(),
        doublings in 18..30u32,
    ) {
        let real = Real::load();
        let mut parts: Vec<Block> = (0..5).map(|_| Block::new(BlockKind::Latents, DIM).unwrap()).collect();
        for i in order {
            real.add(&mut parts[owner[i]], &[i]);
        }
        let mut merged = Block::new(BlockKind::Latents, DIM).unwrap();
        merge_order.iter().for_each(|k| merged.merge(&parts[*k]).unwrap());
        let mut joint = real.block(&(0..133).collect::<Vec<_>>());
        prop_assert_eq!(merged.to_canonical_bytes(), joint.to_canonical_bytes());

        // The same rows 2^doublings times: doubled before merging here, after it there.
        let double = |b: &mut Block| (0..doublings).for_each(|_| { let copy = b.clone(); b.merge(&copy).unwrap(); });
        parts.iter_mut().for_each(double);
        double(&mut joint);
        let mut merged = Block::new(BlockKind::Latents, DIM).unwrap();
        merge_order.iter().rev().for_each(|k| merged.merge(&parts[*k]).unwrap());
        prop_assert!(joint.gram().iter().any(|g| g.abs() > i64::from(u32::MAX)), "totals are past 32 bits");
        prop_assert_eq!(merged.digest(), joint.digest());
        let bytes = joint.to_canonical_bytes();
        prop_assert_eq!(&Block::from_canonical_bytes(&bytes).unwrap(), &merged);

        // Taking parts back in another order leaves exactly the others.
        merged.unmerge(&parts[merge_order[0]]).unwrap();
        merged.unmerge(&parts[merge_order[1]]).unwrap();
        let mut rest = Block::new(BlockKind::Latents, DIM).unwrap();
        merge_order[2..].iter().for_each(|k| rest.merge(&parts[*k]).unwrap());
        prop_assert_eq!(merged.to_canonical_bytes(), rest.to_canonical_bytes());
    }
}
