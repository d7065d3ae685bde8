//! Blocks against naive sums, and what untrusted bytes may not do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ClassName {
    ClassName::new(text).unwrap()
}

fn single(text: &str) -> LabelSet {
    LabelSet::single(name(text))
}

fn labels(positive: &[&str], negative: &[&str]) -> LabelSet {
    let set = |t: &[&str]| t.iter().map(|t| name(t)).collect::<BTreeSet<_>>();
    LabelSet::new(set(positive), set(negative)).unwrap()
}

fn small() -> Block {
    let mut b = Block::new(BlockKind::Latents, 3).unwrap();
    b.add(&[1, -2, 3], &single("wren")).unwrap();
    b.add(&[4, 0, -127], &single("robin")).unwrap();
    b.add(&[5, 5, 5], &single("wren")).unwrap();
    b
}

fn mixed() -> Block {
    let mut b = Block::new(BlockKind::Mixed, 2).unwrap();
    b.add(&[1, 2], &labels(&["wren", "robin"], &[])).unwrap();
    b.add(&[3, -4], &labels(&["wren"], &["robin", "crow"])).unwrap();
    b.add(&[-5, 6], &labels(&[], &["wren"])).unwrap();
    b
}

#[test]
fn small_block_holds_the_sums_of_its_rows() {
    let b = small();
    assert_eq!((b.rows(), b.sum()), (3, [10, 3, -119].as_slice()));
    assert_eq!(b.gram(), [1 + 16 + 25, -2 + 25, 3 - 508 + 25, 4 + 25, -6 + 25, 9 + 16129 + 25]);
    let wren = &b.classes()[&name("wren")];
    assert_eq!((wren.n, wren.sum.as_slice()), (2, [6, 3, 8].as_slice()));
}

#[test]
fn mixed_block_counts_a_row_for_each_of_its_classes_and_keeps_negatives_apart() {
    let b = mixed();
    assert_eq!((b.rows(), b.sum()), (3, [-1, 4].as_slice()));
    let of = |t: &str| {
        let c = &b.classes()[&name(t)];
        (c.n, c.sum.clone(), c.negative_n, c.negative_sum.clone())
    };
    assert_eq!(of("wren"), (2, vec![4, -2], 1, vec![-5, 6]));
    assert_eq!(of("robin"), (1, vec![1, 2], 1, vec![3, -4]));
    assert_eq!(of("crow"), (0, vec![0, 0], 1, vec![3, -4]));
}

#[test]
fn rows_that_do_not_belong_are_refused_and_change_nothing() {
    let mut b = small();
    let before = b.clone();
    let cases: [(&[i8], LabelSet, &str); 5] = [
        (&[1, 2], single("wren"), "do not fit"),
        (&[1, 2, -128], single("wren"), "component 2"),
        (&[1, 2, 3], labels(&["wren", "robin"], &[]), "another block"),
        (&[1, 2, 3], labels(&[], &["robin"]), "another block"),
        (&[1, 2, 3], LabelSet::background(), "another block"),
    ];
    for (row, l, part) in cases {
        let e = b.add(row, &l).unwrap_err();
        assert!(e.kind() == ErrorKind::Input && e.to_string().contains(part), "{e}");
        assert_eq!(b, before);
    }
    assert!(Block::new(BlockKind::Latents, 0).is_err() && Block::new(BlockKind::Latents, DIM_MAX + 1).is_err());
    assert_eq!(b.merge(&mixed()).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn a_full_block_refuses_more_rows_and_changes_nothing() {
    let mut b = Block::new(BlockKind::Background, 1).unwrap();
    b.add(&[-127], &LabelSet::background()).unwrap();
    let error = loop {
        let copy = b.clone();
        if let Err(e) = b.merge(&copy) {
            assert_eq!(b, copy);
            break e;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!((b.rows(), b.gram()), (1 << 49, [16_129 << 49].as_slice()));
    assert!(i128::from(ROWS_MAX) * 16_129 <= i128::from(i64::MAX));
}

#[test]
fn rows_that_were_never_learned_cannot_be_taken_back() {
    let mut b = small();
    let before = b.clone();
    // Unknown class, more rows than there are, and rows whose removal leaves impossible sums.
    assert!(b.subtract(&[1, 1, 1], &single("crow")).is_err());
    assert!(b.subtract_chunk(&[4, 0, -127, 4, 0, -127], &[single("robin"), single("robin")]).is_err());
    assert!(b.subtract(&[-127, -127, 127], &single("robin")).is_err());
    assert_eq!(b, before);
    b.subtract(&[4, 0, -127], &single("robin")).unwrap();
    assert_eq!(b.classes().len(), 1);
}

#[test]
fn canonical_bytes_are_as_documented() {
    let mut b = Block::new(BlockKind::Latents, 2).unwrap();
    b.add(&[3, -1], &single("ä")).unwrap();
    let mut expected = b"WHBK\x01\x00\x00\x00\x02\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    [3i64, -1, 9, -3, 1].iter().for_each(|v| expected.extend(v.to_le_bytes()));
    expected.extend(b"\x02\0\xc3\xa4\x01\0\0\0\0\0\0\0");
    [3i64, -1].iter().for_each(|v| expected.extend(v.to_le_bytes()));
    assert_eq!(b.to_canonical_bytes(), expected);
}

#[test]
fn canonical_bytes_read_back_and_every_shorter_or_longer_form_is_refused() {
    for b in [small(), mixed(), Block::new(BlockKind::Background, 4).unwrap()] {
        let bytes = b.to_canonical_bytes();
        assert_eq!(Block::from_canonical_bytes(&bytes).unwrap(), b);
        for len in 0..bytes.len() {
            assert_eq!(Block::from_canonical_bytes(&bytes[..len]).unwrap_err().kind(), ErrorKind::Corrupt, "{len}");
        }
        assert!(Block::from_canonical_bytes(&[bytes, vec![0]].concat()).is_err());
    }
}

#[test]
fn bytes_that_no_rows_could_give_are_refused() {
    let good = small().to_canonical_bytes();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        Block::from_canonical_bytes(&bytes).unwrap_err().to_string()
    };
    let first_class = HEADER_LEN_BYTES + 8 * 9;
    assert_eq!(&good[first_class..first_class + 7], b"\x05\0robin");
    for (at, new, part) in [
        (0, &b"X"[..], "version 1"),
        (4, &[2], "version 1"),
        (5, &[7], "unknown kind"),
        (6, &[1], "version 1"),
        (8, &[0, 0], "impossible dimension"),
        (8, &[0, 0, 1], "impossible dimension"),
        (16, &[255; 8], "impossible number of rows"),
        (16, &[0], "larger than its rows"),
        (16, &[4], "do not add up"),
        (HEADER_LEN_BYTES, &1000i64.to_le_bytes(), "larger than its rows"),
        (HEADER_LEN_BYTES, &11i64.to_le_bytes(), "do not add up"),
        (HEADER_LEN_BYTES + 24, &(-1i64).to_le_bytes(), "negative"),
        (first_class + 2, b"x", "out of order"),
        (first_class + 2, b" ", "not canonical"),
        (first_class + 2, b"\xff", "not canonical"),
        (first_class + 7, &[0; 8], "larger than its rows"),
        (first_class + 7, &[9], "more rows than its block"),
    ] {
        let e = with(at, new);
        assert!(e.contains(part), "byte {at} = {new:?}: {e}");
    }
    let mut names_twice = small();
    names_twice.classes.insert(name("z"), ClassSums::zero(3));
    assert!(Block::from_canonical_bytes(&names_twice.to_canonical_bytes()).unwrap_err().to_string().contains("no rows"));
}

#[test]
fn a_header_that_promises_more_than_there_is_takes_no_memory() {
    let mut bytes = small().to_canonical_bytes();
    bytes[8..12].copy_from_slice(&(DIM_MAX as u32).to_le_bytes());
    assert!(Block::from_canonical_bytes(&bytes).unwrap_err().to_string().contains("ends too early"));
    let mut bytes = small().to_canonical_bytes();
    bytes[12..16].copy_from_slice(&[255; 4]);
    assert!(Block::from_canonical_bytes(&bytes).unwrap_err().to_string().contains("ends too early"));
}

fn any_rows(dim: usize) -> impl Strategy<Value = Vec<(Vec<i8>, u8)>> {
    proptest::collection::vec((proptest::collection::vec(-127i8..=127, dim), 0u8..32), 1..40)
}

/// Five bits choose the labels of a row.
fn any_labels(bits: u8) -> LabelSet {
    let names = ["wren", "robin", "Zaunkönig"];
    let positive: Vec<&str> = (0..2).filter(|i| bits >> i & 1 == 1).map(|i| names[i]).collect();
    let negative: Vec<&str> = (2..5).filter(|i| bits >> i & 1 == 1).map(|i| names[i - 2]).filter(|n| !positive.contains(n)).collect();
    labels(&positive, &negative)
}

proptest! {
    #[test]
    fn any_partition_merges_to_the_same_bytes_whatever_the_labels(rows in any_rows(7), parts in 1..5usize, turn in 0..40usize) {
        for kind in [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background] {
            let mine: Vec<(Vec<i8>, LabelSet)> =
                rows.iter().map(|(q, bits)| (q.clone(), any_labels(*bits))).filter(|(_, l)| l.block_kind() == kind).collect();
            let mut joint = Block::new(kind, 7).unwrap();
            let flat: Vec<i8> = mine.iter().flat_map(|(q, _)| q.clone()).collect();
            joint.add_chunk(&flat, &mine.iter().map(|(_, l)| l.clone()).collect::<Vec<_>>()).unwrap();
            let mut split: Vec<Block> = (0..parts).map(|_| Block::new(kind, 7).unwrap()).collect();
            for (i, (q, l)) in mine.iter().enumerate().rev() {
                split[(i * 7 + turn) % parts].add(q, l).unwrap();
            }
            let mut merged = Block::new(kind, 7).unwrap();
            (0..parts).for_each(|k| merged.merge(&split[(k + turn) % parts]).unwrap());
            prop_assert_eq!(merged.to_canonical_bytes(), joint.to_canonical_bytes());
            prop_assert_eq!(Block::from_canonical_bytes(&joint.to_canonical_bytes()).unwrap(), joint);
        }
    }

    #[test]
    fn taking_back_what_was_added_is_the_identity(rows in any_rows(5), extra in any_rows(5)) {
        for kind in [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background] {
            let mut b = Block::new(kind, 5).unwrap();
            let of_kind = |r: &[(Vec<i8>, u8)]| r.iter().map(|(q, c)| (q.clone(), any_labels(*c))).filter(|(_, l)| l.block_kind() == kind).collect::<Vec<_>>();
            of_kind(&rows).iter().for_each(|(q, l)| b.add(q, l).unwrap());
            let before = b.to_canonical_bytes();
            of_kind(&extra).iter().for_each(|(q, l)| b.add(q, l).unwrap());
            of_kind(&extra).iter().for_each(|(q, l)| b.subtract(q, l).unwrap());
            prop_assert_eq!(b.to_canonical_bytes(), before);
        }
    }

    #[test]
    fn damaged_bytes_never_panic(at in 0usize..400, value: u8) {
        let mut bytes = mixed().to_canonical_bytes();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(b) = Block::from_canonical_bytes(&bytes) {
            prop_assert_eq!(b.to_canonical_bytes(), bytes);
        }
    }
}
