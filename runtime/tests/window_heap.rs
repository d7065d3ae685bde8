//! From samples to probabilities nothing is allocated once the first windows went through, but for what the backbone's own call
//! takes. ONNX Runtime's own allocator is not seen here: inside the call only what this crate asks for is counted. Needs what
//! `cargo xtask setup` makes; without it this fails.

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cap::Cap;
use wheatear::Result;
use wheatear::backbone::Backbone;
use wheatear::backbone::library::assets_folder;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::backbone::session::{OrtBackbone, SessionOptions};
use wheatear::head::{Head, HeadKind, LatentHead, Presence};
use wheatear::latent::Quantiser;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};
use wheatear::learner::mixed::{self, Blocks};
use wheatear::learner::{self, Budget, Guard, LabelledRow, Sources};
use wheatear::pipeline::{Embedder, Window};

/// Counts the bytes that were ever asked for. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const SOURCE_RATE_HZ: u32 = 48_000;

/// A backbone that tells what was allocated in its calls.
struct Counting {
    backbone: OrtBackbone,
    inside: Arc<AtomicUsize>,
}

impl Backbone for Counting {
    fn input(&self) -> GraphInput {
        self.backbone.input()
    }

    fn input_len(&self) -> usize {
        self.backbone.input_len()
    }

    fn dim(&self) -> usize {
        self.backbone.dim()
    }

    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
        let before = HEAP.total_allocated();
        let result = self.backbone.embed(input, embedding);
        self.inside.fetch_add(HEAP.total_allocated() - before, Ordering::Relaxed);
        result
    }
}

/// A chirp with some hiss.
fn sound(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| (i as f32 * i as f32 * 1e-6).sin() * 0.4 + (i * 7919 % 1000) as f32 * 1e-5).collect()
}

/// Labelled latents of five classes, each round a mean of its own.
fn taught(dim: usize) -> (Block, Vec<LabelledRow>) {
    let mut block = Block::new(BlockKind::Latents, dim).unwrap();
    let row = |n: usize| {
        let latent: Vec<i8> = (0..dim).map(|i| (((n % 5 * 31 + i * 17) % 100 + n * i * 7919 % 41) as i64 - 70) as i8).collect();
        LabelledRow { id: n as u64, latent, class: ClassName::new(&format!("class {}", n % 5)).unwrap(), recording: n as u64 }
    };
    let rows: Vec<LabelledRow> = (0..60).map(row).collect();
    rows.iter().for_each(|r| block.add(&r.latent, &LabelSet::single(r.class.clone())).unwrap());
    (block, rows)
}

#[test]
fn a_window_allocates_nothing_outside_the_backbone_call_and_inside_it_as_much_as_the_one_before() {
    let folder = assets_folder().unwrap_or_default().join("models/aisfx");
    let (manifest, folder) = Manifest::load(&folder).unwrap_or_else(|e| panic!("{e}; run `cargo xtask setup`"));
    let backbone = OrtBackbone::load(&manifest, &folder, None, &SessionOptions::default()).unwrap();
    let quantiser = Quantiser::from_manifest(&manifest, None).unwrap();
    let (dim, inside) = (quantiser.dim(), Arc::new(AtomicUsize::new(0)));
    let hop = manifest.audio.hop_samples as usize * SOURCE_RATE_HZ as usize / manifest.audio.rate_hz as usize;
    let (block, rows) = taught(dim);
    let sources = Sources { block: &block, scale: quantiser.scale(), rows: &rows, background: &[], expanded: None };
    let served = learner::solve(HeadKind::Auto, Guard::On, sources, &Budget::default()).unwrap();
    let unknown = served.unknown.as_ref().expect("rows judged");
    let mut mixed = Block::new(BlockKind::Mixed, dim).unwrap();
    let name = |n: usize| ClassName::new(&format!("class {n}")).unwrap();
    let labels = LabelSet::new([name(0), name(1)].into(), [name(2)].into()).unwrap();
    mixed.add(&rows[0].latent, &labels).unwrap();
    let blocks = Blocks { latents: &block, mixed: &mixed, background: None, holds_several: true };
    let presence = mixed::solve(blocks, quantiser.scale(), &[], &[]).unwrap().expect("a row of two labels");
    let latents = LatentHead::new(&served.head, quantiser.scale());
    let mut embedder = Embedder::new(manifest, Box::new(Counting { backbone, inside: inside.clone() }), SOURCE_RATE_HZ).unwrap();

    let (samples, classes) = (sound(hop), served.head.classes().len());
    let (mut latent, mut x, mut z, mut p) = (vec![0i8; dim], vec![0f32; dim], vec![0f32; classes], vec![0f32; classes]);
    let mut present = vec![0f32; presence.classes().len()];
    let (mut windows, mut sum) = (0, 0f32);
    let mut counts = Vec::with_capacity(40);
    for _ in 0..40 {
        let (before, before_inside) = (HEAP.total_allocated(), inside.load(Ordering::Relaxed));
        let mut classify = |w: Window<'_>| {
            quantiser.quantise(w.embedding, &mut latent)?;
            quantiser.dequantise(&latent, &mut x);
            served.head.scores(&x, &mut z);
            served.head.probabilities(&x, &mut p);
            latents.probabilities(&latent, &mut p);
            sum += p.iter().sum::<f32>() + unknown.probability(&x, &mut z);
            presence.veto(&x, served.head.classes(), &mut p);
            presence.probabilities(&x, &mut present);
            sum += Presence::unknown(unknown.probability(&x, &mut z), &p, &present);
            windows += 1;
            Ok(())
        };
        embedder.push(&samples, &mut classify).unwrap();
        let within = inside.load(Ordering::Relaxed) - before_inside;
        counts.push((windows, HEAP.total_allocated() - before - within, within));
    }
    assert!(windows > 30 && sum > windows as f32 * 0.99, "{windows} {sum}");
    // The first windows are start-up; after it every push that made a window costs the same.
    let later: Vec<_> = counts.windows(2).filter(|pair| pair[0].0 > 2 && pair[1].0 == pair[0].0 + 1).map(|pair| pair[1]).collect();
    assert!(later.len() > 25, "{counts:?}");
    println!("outside and inside the backbone call: {:?} bytes", later.last().map(|c| (c.1, c.2)));
    // The thread that runs the tests may ask for some now and then: nearly all windows must be free of it.
    let free = later.iter().filter(|c| c.1 == 0).count();
    assert!(free + 1 >= later.len(), "allocated outside the backbone call: {counts:?}");
    let usual = later[later.len() / 2].2;
    assert!(later.iter().filter(|c| c.2 == usual).count() + 1 >= later.len(), "allocated inside the backbone call: {counts:?}");
}
