//! A softmax head that learns for ever takes no more memory than it was made with, and asks for none on the way.

use std::alloc::System;

use cap::Cap;
use wheatear::head::Head;
use wheatear::head::softmax::{Exemplar, SoftmaxConfig, SoftmaxHead};
use wheatear::learn::ClassName;

/// Counts the bytes that were ever asked for. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const DIM: usize = 24;

#[test]
fn an_update_and_a_calibration_allocate_nothing_once_the_classes_are_known() {
    let config = SoftmaxConfig { classes_max: 5, rows_max: 60, ..SoftmaxConfig::default() };
    let mut head = SoftmaxHead::new(&[0.1; DIM], config).unwrap();
    let names: Vec<ClassName> = (0..5).map(|n| ClassName::new(&format!("class {n}")).unwrap()).collect();
    let rows: Vec<f32> = (0..10 * DIM).map(|i| (i * 37 % 101) as f32 * 0.1).collect();
    let labels: Vec<ClassName> = (0..10).map(|n| names[n % 5].clone()).collect();
    let latents: Vec<i8> = (0..50 * DIM).map(|i| (i * 53 % 127) as i8).collect();
    let replay: Vec<Exemplar<'_>> =
        latents.chunks_exact(DIM).enumerate().map(|(n, latent)| Exemplar { latent, class: &names[n % 5] }).collect();
    let mut scores = [0.0; 5];
    head.learn(&rows, &labels, &[]).unwrap();
    let mut update = || {
        let before = HEAP.total_allocated();
        head.learn(&rows, &labels, &replay).unwrap();
        head.calibrate(&replay).unwrap();
        head.probabilities(&rows[..DIM], &mut scores);
        HEAP.total_allocated() - before
    };
    // The thread that runs the tests may ask for some now and then.
    assert_eq!((0..20).map(|_| update()).min(), Some(0));
}
