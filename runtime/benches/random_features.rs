//! Random features: expanding a latent, learning its features, and scoring a window with a head over them.
//!
//! `cargo bench -p wheatear --bench random_features`. Solving is measured by `wheatear lab run`, in processor seconds.

use divan::Bencher;
use divan::counter::BytesCount;
use wheatear::head::{Expansion, Head, LinearHead, RandomFeatures};
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};

const FEATURES: [usize; 3] = [512, 1024, 2048];
const CLASSES: usize = 20;

fn main() {
    divan::main();
}

fn latent(dim: usize) -> Vec<i8> {
    (0..dim).map(|k| ((k * 7919 + 13) % 101) as i8 - 50).collect()
}

fn made<const DIM: usize>(features: usize) -> RandomFeatures {
    RandomFeatures::new(DIM, features, 0, 3).unwrap()
}

#[divan::bench(args = FEATURES, consts = [96, 512])]
fn expand<const DIM: usize>(bencher: Bencher, features: usize) {
    let (made, latent, mut out) = (made::<DIM>(features), latent(DIM), vec![0; features]);
    bencher.bench_local(|| made.expand(&latent, &mut out));
}

/// One row into the statistics; the bytes are those that the statistics take without their classes.
#[divan::bench(args = FEATURES)]
fn learn(bencher: Bencher, features: usize) {
    let mut row = vec![0; features];
    made::<96>(features).expand(&latent(96), &mut row);
    let label = LabelSet::single(ClassName::new("wren").unwrap());
    let mut block = Block::new(BlockKind::Latents, features).unwrap();
    let len_bytes = 8 * (block.gram().len() + features);
    bencher.counter(BytesCount::new(len_bytes)).bench_local(|| block.add(&row, &label).unwrap());
}

/// Without features (0) and with them, 20 classes.
#[divan::bench(args = [0, 512, 1024, 2048], consts = [96, 512])]
fn scores<const DIM: usize>(bencher: Bencher, features: usize) {
    let head = LinearHead {
        name: "bench".into(),
        classes: (0..CLASSES).map(|c| ClassName::new(&format!("class {c:02}")).unwrap()).collect(),
        weights: vec![0.5; CLASSES * DIM],
        bias: vec![0.0; CLASSES],
        temperature: 1.0,
        expansion: (features > 0).then(|| Expansion {
            features: made::<DIM>(features),
            scale: vec![0.05; DIM],
            weights: vec![0.01; CLASSES * features],
        }),
    };
    let x: Vec<f32> = latent(DIM).iter().map(|q| f32::from(*q) * 0.05).collect();
    let mut z = [0f32; CLASSES];
    bencher.bench_local(|| head.scores(&x, &mut z));
}
