//! What is told of answers, and what is read back.

use super::*;

fn head() -> LinearHead {
    let classes = ["ant", "bee"].map(|n| ClassName::new(n).unwrap()).to_vec();
    LinearHead { name: "made-up".into(), classes, weights: vec![4.0, 0.0, 0.0, 4.0], bias: vec![0.0; 2], temperature: 1.0, expansion: None }
}

fn ask(monitor: &mut Monitor, class: &str, x: [f32; 2]) -> Option<Fall> {
    monitor.ask(&head(), &ClassName::new(class).unwrap(), &x, &mut [0.0; 2]).unwrap()
}

#[test]
fn a_class_that_the_head_does_not_know_is_no_question_to_it() {
    let mut monitor = Monitor::new(2).unwrap();
    ask(&mut monitor, "ant", [1.0, 0.0]);
    ask(&mut monitor, "bee", [1.0, 0.0]);
    ask(&mut monitor, "cat", [1.0, 0.0]);
    assert_eq!((monitor.answers(), monitor.right()), (2, 1));
}

#[test]
fn a_fall_of_accuracy_is_told_once_and_remembered() {
    let mut monitor = Monitor::new(2).unwrap();
    let told = |monitor: &mut Monitor, x| {
        (0..80).filter_map(|n| ask(monitor, ["ant", "bee"][n % 2], if n % 2 == 0 { x } else { [x[1], x[0]] })).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut monitor, [1.0, 0.0]), []);
    let falls = told(&mut monitor, [0.0, 1.0]);
    assert!(falls.len() == 1 && falls[0].of == Falling::Accuracy && falls[0].change.before > 0.9, "{falls:?}");
    let last = monitor.last_fall().unwrap();
    assert!(last.at_answer == falls[0].at_answer && last.change.after < 0.3, "{last:?}");
}

#[test]
fn bytes_of_no_monitor_are_none() {
    let mut monitor = Monitor::new(2).unwrap();
    ask(&mut monitor, "ant", [1.0, 0.0]);
    let bytes = monitor.encode().unwrap();
    assert_eq!(Monitor::decode(&bytes, 2), Some(monitor.clone()));
    assert_eq!(Monitor::decode(&bytes, 3), None);
    assert_eq!(Monitor::decode(&bytes[..bytes.len() - 1], 2), None);
    assert_eq!(Monitor::decode(&[&[VERSION + 1], &bytes[1..]].concat(), 2), None);
    let mut impossible = monitor;
    impossible.prequential = impossible.prequential.impossible();
    assert_eq!(Monitor::decode(&impossible.encode().unwrap(), 2), None);
}
