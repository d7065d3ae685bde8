use super::*;

fn single(name: &str) -> LabelSet {
    LabelSet::single(ClassName::new(name).unwrap())
}

fn small() -> Block {
    let mut b = Block::new(BlockKind::Latents, 3).unwrap();
    b.add(&[1, -2, 3], &single("wren")).unwrap();
    b.add(&[4, 0, -127], &single("robin")).unwrap();
    b.add(&[5, 5, 5], &single("wren")).unwrap();
    b
}

#[test]
fn small_block_holds_the_sums_of_its_rows() {
    let b = small();
    assert_eq!(b.rows(), 3);
    assert_eq!(b.sum(), [10, 3, -119]);
    assert_eq!(b.gram(), [1 + 16 + 25, -2 + 25, 3 - 508 + 25, 4 + 25, -6 + 25, 9 + 16129 + 25]);
    let wren = &b.classes()[&ClassName::new("wren").unwrap()];
    assert_eq!((wren.n, wren.sum.as_slice()), (2, [6, 3, 8].as_slice()));
}
