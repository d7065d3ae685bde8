use super::*;
use crate::learn::{Block, BlockKind, LabelSet};

fn block(rows: &[(&str, &[i8])]) -> Block {
    let mut b = Block::new(BlockKind::Latents, rows[0].1.len()).unwrap();
    for (name, q) in rows {
        b.add(q, &LabelSet::single(ClassName::new(name).unwrap())).unwrap();
    }
    b
}

fn predicted(head: &LinearHead, x: &[f32]) -> String {
    let mut z = vec![0.0; head.classes.len()];
    head.scores(x, &mut z);
    assert!(z.iter().all(|v| v.is_finite()), "{z:?}");
    head.classes[argmax(&z)].to_string()
}

#[test]
fn every_solved_head_tells_two_clouds_apart() {
    let b = block(&[("a", &[10, 1, 0]), ("a", &[12, -1, 0]), ("b", &[-9, 2, 0]), ("b", &[-11, 0, 0])]);
    let m = Moments::new(&b, &[0.1, 0.1, 0.1]).unwrap();
    for kind in SolvedHead::ALL {
        let head = kind.solve(&m).unwrap();
        assert_eq!((predicted(&head, &[1.0, 0.0, 0.0]), predicted(&head, &[-1.0, 0.0, 0.0])), ("a".into(), "b".into()), "{}", kind.name());
        let mut p = [0.0; 2];
        head.probabilities(&[1.0, 0.0, 0.0], &mut p);
        assert!(p[0] > 0.9 && (p[0] + p[1] - 1.0).abs() < 1e-6, "{} {p:?}", kind.name());
    }
}
