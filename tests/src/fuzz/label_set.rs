//! Label sets as stored: what is read is consistent, and is read again from what is written for it.

use wheatear::learn::{BlockKind, LabelSet};

use super::rows::{rows, some};

/// Takes `data` as a stored label set.
pub fn run(data: &[u8]) {
    let Ok((labels, rest)) = postcard::take_from_bytes::<LabelSet>(data) else { return };
    assert!(labels.positive().is_disjoint(labels.negative()), "{labels:?}");
    let written = postcard::to_stdvec(&labels).expect("as long as it was");
    assert!(written.len() <= data.len() - rest.len(), "a set has a shortest form");
    assert_eq!(postcard::from_bytes::<LabelSet>(&written).expect("it was just written"), labels);
    assert_eq!(LabelSet::new(labels.positive().clone(), labels.negative().clone()).expect("disjoint"), labels);
    let empty = labels.positive().is_empty() && labels.negative().is_empty();
    assert_eq!(labels.block_kind() == BlockKind::Background, empty);
}

/// Sets of none, one and several classes.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let stored = |l: &LabelSet| postcard::to_stdvec(l).expect("a short set");
    rows(&some(6, 1), 1, 8).iter().enumerate().map(|(i, r)| (format!("set-{i}"), stored(&r.labels))).collect()
}
