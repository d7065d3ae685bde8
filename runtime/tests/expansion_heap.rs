//! A head over random features asks for no memory when it scores a window.

use std::alloc::System;

use cap::Cap;
use wheatear::head::{Expansion, Head, LinearHead, RandomFeatures};
use wheatear::learn::ClassName;

/// Counts the bytes that were ever asked for. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const DIM: usize = 40;

#[test]
fn scores_and_features_allocate_nothing() {
    let features = RandomFeatures::new(DIM, 256, 1, 3).unwrap();
    let expansion = Expansion { features: features.clone(), scale: vec![0.1; DIM], weights: vec![0.01; 2 * 256] };
    let head = LinearHead {
        name: "rf".into(),
        classes: ["robin", "wren"].map(|name| ClassName::new(name).unwrap()).into(),
        weights: vec![0.0; 2 * DIM],
        bias: vec![0.0; 2],
        temperature: 1.0,
        expansion: Some(expansion),
    };
    let (latent, x) = ([50i8; DIM], [5f32; DIM]);
    let (mut out, mut p) = ([0i8; 256], [0f32; 2]);
    let mut window = || {
        let before = HEAP.total_allocated();
        features.expand(&latent, &mut out);
        head.probabilities(&x, &mut p);
        HEAP.total_allocated() - before
    };
    // The thread that runs the tests may ask for some now and then.
    assert_eq!((0..20).map(|_| window()).min(), Some(0));
    assert!(out.iter().any(|f| *f > 0));
}
