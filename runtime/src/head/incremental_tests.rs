//! The head that follows its sums against the head that is solved from them.

use super::*;
use crate::head::Head;
use crate::learn::{Block, BlockKind, LabelSet};

const DIM: usize = 24;
const SHRINKAGE: f64 = 0.1;

/// Random numbers, the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// A row that scatters round the mean of its class, more in some dimensions than in others.
    fn row(&mut self, class: usize) -> Vec<i8> {
        let spread = |i: usize| 3 + 2 * (i % 16);
        (0..DIM).map(|i| ((class * 37 + i * 53) % 121) as i8 - 60 + self.below(2 * spread(i) + 1) as i8 - spread(i) as i8).collect()
    }
}

fn name(class: usize) -> ClassName {
    ClassName::new(&format!("class {class}")).unwrap()
}

/// A block with its rows, and the head that follows it.
struct Life {
    numbers: Numbers,
    block: Block,
    rows: Vec<(usize, Vec<i8>)>,
}

impl Life {
    fn new(rows: usize, classes: usize) -> Life {
        let mut life = Life { numbers: Numbers(5), block: Block::new(BlockKind::Latents, DIM).unwrap(), rows: Vec::new() };
        for n in 0..rows {
            life.learn(n % classes);
        }
        life
    }

    fn learn(&mut self, class: usize) -> (Sign, usize, Vec<i8>) {
        let latent = self.numbers.row(class);
        self.block.add(&latent, &LabelSet::single(name(class))).unwrap();
        self.rows.push((class, latent.clone()));
        (Sign::Add, class, latent)
    }

    fn undo(&mut self) -> (Sign, usize, Vec<i8>) {
        let at = self.numbers.below(self.rows.len());
        let (class, latent) = self.rows.swap_remove(at);
        self.block.subtract(&latent, &LabelSet::single(name(class))).unwrap();
        (Sign::Subtract, class, latent)
    }

    fn moments(&self) -> Moments {
        Moments::new(&self.block, &[0.05; DIM]).unwrap()
    }

    fn follow(&self, head: &mut Incremental, changes: &[(Sign, usize, Vec<i8>)]) -> Step {
        let names: Vec<ClassName> = changes.iter().map(|c| name(c.1)).collect();
        let changes: Vec<Change<'_>> =
            changes.iter().zip(&names).map(|((sign, _, latent), class)| Change { sign: *sign, latent, class }).collect();
        head.update(&self.moments(), &changes).unwrap()
    }
}

/// Largest difference of weights and biases, over the largest of each.
fn difference(a: &LinearHead, b: &LinearHead) -> f64 {
    assert_eq!(a.classes(), b.classes());
    let of = |a: &[f32], b: &[f32]| {
        let size = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        f64::from(a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / size)
    };
    of(&a.weights, &b.weights).max(of(&a.bias, &b.bias))
}

/// Squared Mahalanobis distance between two classes: the difference of their weights times that of their means.
fn between(head: &LinearHead, moments: &Moments, a: usize, b: usize) -> f64 {
    let w = |c: usize| &head.weights[c * DIM..][..DIM];
    let (ma, mb) = (moments.mean(a), moments.mean(b));
    (0..DIM).map(|i| f64::from(w(a)[i] - w(b)[i]) * (ma[i] - mb[i])).sum()
}

#[test]
fn over_a_long_life_the_head_is_the_full_solve_with_the_shrinkage_it_tells_and_its_distances_stay_within_the_bound() {
    let mut life = Life::new(400, 5);
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    let (mut updated, mut solved, mut worst, mut farthest) = (0, 0, 0f64, 1f64);
    for n in 0..1500 {
        // Labels of one to three rows, of ever more classes; each fourth row is taken back again.
        let classes = 5 + n / 150;
        let changes: Vec<_> = (0..n % 3 + 1)
            .map(|_| match life.numbers.below(4) {
                0 => life.undo(),
                _ => {
                    let class = life.numbers.below(classes);
                    life.learn(class)
                }
            })
            .collect();
        match life.follow(&mut head, &changes) {
            Step::Updated => updated += 1,
            Step::Solved(reason) => {
                assert!(matches!(reason, Reason::Rows | Reason::Drift), "step {n}: {reason:?}");
                solved += 1;
            }
        }
        let (moments, found) = (life.moments(), head.head().unwrap());
        worst = worst.max(difference(&found, &slda::solve(&moments, head.shrinkage()).unwrap()));
        let exact = slda::solve(&moments, SHRINKAGE).unwrap();
        let ratio = between(&found, &moments, 0, n % 4 + 1) / between(&exact, &moments, 0, n % 4 + 1);
        farthest = farthest.max(ratio.max(1.0 / ratio));
    }
    println!("{updated} steps followed, {solved} solved; worst {worst:.1e}, distances within {farthest:.4}");
    assert!(updated > 1350 && solved > 20, "{updated} {solved}");
    assert!(worst < 5e-7, "{worst}");
    assert!(farthest > 1.001 && farthest < 1.0 + DRIFT_MAX, "{farthest}");
}

#[test]
fn many_rows_at_once_and_a_class_that_comes_and_goes_are_followed() {
    let mut life = Life::new(600, 6);
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    let mut changes: Vec<_> = (0..12).map(|n| life.learn(n % 8)).collect();
    assert_eq!(life.follow(&mut head, &changes), Step::Updated);
    assert!(difference(&head.head().unwrap(), &slda::solve(&life.moments(), head.shrinkage()).unwrap()) < 5e-7);
    // Undone in the same order: exactly what was.
    changes.iter_mut().for_each(|c| c.0 = Sign::Subtract);
    for (_, class, latent) in &changes {
        life.block.subtract(latent, &LabelSet::single(name(*class))).unwrap();
    }
    assert_eq!(life.follow(&mut head, &changes), Step::Updated);
    assert!((head.shrinkage() - SHRINKAGE).abs() < 1e-12);
    assert!(difference(&head.head().unwrap(), &slda::solve(&life.moments(), SHRINKAGE).unwrap()) < 5e-7);
    assert_eq!(head.head().unwrap().classes().len(), 6);
}

#[test]
fn a_full_solve_comes_after_so_many_rows_and_when_the_scatter_has_grown() {
    let mut life = Life::new(4000, 4);
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    for n in 0..=ROWS_MAX {
        let change = life.learn(n % 4);
        let step = life.follow(&mut head, &[change]);
        assert_eq!(step, if n < ROWS_MAX { Step::Updated } else { Step::Solved(Reason::Rows) }, "row {n}");
    }
    assert!((head.shrinkage() - SHRINKAGE).abs() < 1e-15);
    let mut life = Life::new(40, 4);
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    let changes = [0, 1, 2, 3, 0].map(|class| life.learn(class));
    assert_eq!(life.follow(&mut head, &changes), Step::Solved(Reason::Drift));
}

#[test]
fn changes_that_do_not_lead_to_the_sums_are_seen_and_the_sums_hold() {
    let mut life = Life::new(400, 5);
    let right = |head: &Incremental, life: &Life| {
        assert!((head.shrinkage() - SHRINKAGE).abs() < 1e-15);
        assert!(difference(&head.head().unwrap(), &slda::solve(&life.moments(), SHRINKAGE).unwrap()) < 1e-7);
    };
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    life.learn(1);
    assert_eq!(life.follow(&mut head, &[]), Step::Solved(Reason::Foreign), "a row that was not told");
    right(&head, &life);
    let (sign, class, _) = life.learn(2);
    let other = life.numbers.row(2);
    assert_eq!(life.follow(&mut head, &[(sign, class, other)]), Step::Solved(Reason::Residual), "another row than was learned");
    right(&head, &life);
    let unknown = (Sign::Subtract, 77, life.numbers.row(0));
    assert_eq!(life.follow(&mut head, &[unknown]), Step::Solved(Reason::Foreign), "a row of a class that was never there");
    right(&head, &life);
}

#[test]
fn without_scatter_the_head_is_solved_anew_until_there_is_some() {
    let mut life = Life::new(3, 3);
    let mut head = Incremental::solve(&life.moments(), SHRINKAGE).unwrap();
    for (class, reason) in [(3, Reason::NoScatter), (0, Reason::NoScatter), (1, Reason::Drift)] {
        let change = life.learn(class);
        assert_eq!(life.follow(&mut head, &[change]), Step::Solved(reason), "class {class}");
        assert!(difference(&head.head().unwrap(), &slda::solve(&life.moments(), SHRINKAGE).unwrap()) < 1e-7);
    }
}

#[test]
fn the_ends_of_the_shrinkage_are_followed_too() {
    for shrinkage in [0.0, 1.0] {
        let mut life = Life::new(800, 4);
        let mut head = Incremental::solve(&life.moments(), shrinkage).unwrap();
        for n in 0..8 {
            let change = life.learn(n % 5);
            assert_eq!(life.follow(&mut head, &[change]), Step::Updated, "{shrinkage}");
        }
        assert_eq!(head.shrinkage(), shrinkage);
        assert!(difference(&head.head().unwrap(), &slda::solve(&life.moments(), shrinkage).unwrap()) < 5e-7, "{shrinkage}");
    }
}

#[test]
fn a_row_that_was_nearly_all_of_its_direction_is_not_taken_out_of_the_factor() {
    // One row alone varies in the last dimension.
    let mut life = Life::new(400, 2);
    let flat = |latent: &[i8], last: i8| latent[..DIM - 1].iter().copied().chain([last]).collect::<Vec<i8>>();
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    for (n, (class, latent)) in life.rows.iter_mut().enumerate() {
        *latent = flat(latent, if n == 0 { 1 } else { 0 });
        block.add(latent, &LabelSet::single(name(*class))).unwrap();
    }
    life.block = block;
    let mut head = Incremental::solve(&life.moments(), 1e-9).unwrap();
    let (class, latent) = life.rows.remove(0);
    life.block.subtract(&latent, &LabelSet::single(name(class))).unwrap();
    assert_eq!(life.follow(&mut head, &[(Sign::Subtract, class, latent)]), Step::Solved(Reason::Remainder));
}
