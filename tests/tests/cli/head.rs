//! The head that an adapter serves: shown, and used by classify.

use crate::command::run;
use crate::material::{INSTRUMENTS, aisfx, notes, taught};

#[test]
fn inspect_shows_what_the_head_is_pooled_from() {
    let facts = run!("inspect", taught().adapter(), "--head", "--json").ok().json();
    let members = facts["members"].as_array().unwrap();
    assert_eq!(members.iter().map(|m| m["name"].as_str().unwrap()).collect::<Vec<_>>(), ["slda", "ridge"]);
    assert!((members.iter().map(|m| m["weight"].as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(facts["accuracy"].as_f64().unwrap() > 0.5 && facts["judging_rows"].as_u64().unwrap() > 5, "{facts}");
    assert_eq!((facts["tells_unknown"].as_bool(), facts["doubtful"].as_array().map(Vec::len)), (Some(true), Some(0)));
    let table = run!("inspect", taught().adapter(), "--head").ok().out;
    assert!(table.contains("slda") && table.contains("shrinkage") && table.contains("ridge"), "{table}");
}

#[test]
fn classify_says_how_probably_a_window_is_of_no_known_class() {
    let known = notes(INSTRUMENTS[0])[4].clone();
    let windows = |head: &str| {
        let heard = run!("classify", &known, "--backbone", aisfx(), "--adapter", taught().adapter(), "--head", head, "--json").ok().json();
        heard[0]["windows"].as_array().unwrap().clone()
    };
    assert!(windows("auto").iter().any(|w| w["unknown"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))));
    assert!(windows("slda").iter().all(|w| w["unknown"].is_null()));
}
