//! Live sound end to end, from samples that a program feeds, with a backbone that hears tones.

#![cfg(feature = "capture")]

mod desk;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use desk::*;
use wheatear::audio::capture::CaptureEvent;
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::GraphInput;
use wheatear::daemon::{Settings, Sink, Target};
use wheatear::event::{Event, Glance, What};
use wheatear::latent::SpaceId;
use wheatear::learn::{BlockKind, ClassName, LabelSet};
use wheatear::learner::Budget;
use wheatear::live::learning::Learning;
use wheatear::store::{Access, Adapter, Creation, ORDINARY};
use wheatear::{Error, ErrorKind, Result};

#[test]
fn what_a_label_says_the_next_window_knows_and_a_restart_too() {
    let mut desk = Desk::new(1, vec![]);
    for _ in 0..2 {
        let learned = desk.learn(0, 500.0, "low");
        assert!(learned.durable && learned.rows >= 15, "{learned:?}");
        desk.learn(0, 1500.0, "high");
    }
    for (hz, class) in [(500.0, "low"), (1500.0, "high"), (500.0, "low")] {
        let (begin_ns, _) = desk.play(0, hz);
        let (_, begun) = desk.event(class, |e| began(e).filter(|b| b.0 == class).map(|b| (b.1, b.2)));
        // The first windows may have some of the tone before.
        assert!(begun.abs_diff(begin_ns) <= 150_000_000, "{class} began {} ms off", begun.abs_diff(begin_ns) / 1_000_000);
    }
    let counts = desk.daemon().handle().counts().unwrap();
    assert_eq!((counts.windows_dropped, counts.windows_skipped, counts.frames_lost), (0, 0, 0));
    let told = desk.stop();
    assert!(
        told.iter().any(|e| matches!(&e.what, What::Heard { class, span: Some(_), .. } if class == "low")),
        "the last is ended: {told:?}"
    );
    let adapter = Adapter::open(&desk.folder.path().join("a"), Access::Read).unwrap();
    let block = adapter.block(BlockKind::Latents).unwrap().unwrap();
    assert_eq!(block.classes().keys().map(ClassName::as_str).collect::<Vec<_>>(), ["high", "low"]);
    assert!(adapter.kept_head().unwrap().is_some(), "the head is kept");
}

#[test]
fn an_event_is_labelled_by_its_id_and_undo_takes_the_label_back() {
    let mut desk = Desk::new(1, vec![]);
    for _ in 0..2 {
        desk.learn(0, 500.0, "low");
        desk.learn(0, 1500.0, "high");
    }
    let before = desk.daemon().handle().undo(1, "test").unwrap();
    desk.learn(0, 1500.0, "high");
    desk.play(0, 500.0);
    let id = desk.event("low", |e| began(e).filter(|b| b.0 == "low").map(|b| b.1));
    let labels = LabelSet::new([ClassName::new("lower").unwrap()].into(), [ClassName::new("low").unwrap()].into()).unwrap();
    let learned = desk.daemon().handle().label(Target::Event(id), labels, "test").unwrap();
    let told = desk.event("learned", |e| match &e.what {
        What::Learned { classes, rows, by, durable: true, .. } if by == "test" => Some((classes.clone(), *rows)),
        _ => None,
    });
    assert_eq!(told, (vec!["lower".to_owned(), "!low".to_owned()], learned.rows));
    let undone = desk.daemon().handle().undo(1, "test").unwrap();
    assert!(undone.rows == learned.rows && undone.durable && undone.generation > before.generation, "{undone:?}");
    assert_eq!(desk.daemon().handle().undo(99, "test").unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn a_label_about_nothing_is_refused_with_why() {
    let mut desk = Desk::new(1, vec![]);
    let silence = vec![0.0; RATE_HZ as usize];
    let begun_ns = desk.begun_ns;
    silence.chunks(480).for_each(|block| desk.feed(0, block));
    desk.wait_until("heard", |d| d.daemon().handle().counts().unwrap().windows >= 19);
    for (span, why) in [((begun_ns, begun_ns + 1_000_000_000), "silent (a span of 1.0 s"), ((0, 1), "no window is held")] {
        let error = desk.label(0, span, "wren").unwrap_err();
        assert!(error.kind() == ErrorKind::Input && error.to_string().contains(why), "{error}");
    }
    assert_eq!(desk.stop().iter().filter(|e| matches!(e.what, What::Learned { .. })).count(), 0);
}

#[test]
fn sound_that_found_no_room_is_counted_and_told_and_no_window_spans_the_gap() {
    let mut desk = Desk::new(1, vec![]);
    desk.play(0, 500.0);
    let before = desk.feeds[0].lost();
    // More at once than the ring holds: the rest is lost.
    let much = vec![0.1; 200_000];
    desk.feeds[0].push(&much, desk.begun_ns + 1_000_000_000);
    desk.fed[0] += 200_000;
    let lost = desk.feeds[0].lost() - before;
    assert!(lost > 0);
    desk.wait_until("taken", |d| d.feeds[0].has_room(16_000));
    desk.feed(0, &vec![0.1; 16_000]);
    // Where room came between two pieces of it there are several gaps.
    let mut told = 0;
    while told < lost {
        told += desk.event("the gap", |e| match &e.what {
            What::Notice { text, .. } => text.strip_suffix(" frames were lost").and_then(|n| n.parse::<u64>().ok()),
            _ => None,
        });
    }
    assert_eq!(told, lost);
    desk.wait_until("counted", |d| {
        let c = d.daemon().handle().counts().unwrap();
        c.frames + c.frames_lost == d.fed[0]
    });
}

#[test]
fn two_microphones_are_heard_at_once_and_one_sink_that_fails_does_not_stop_the_other() {
    struct Broken;
    impl Sink for Broken {
        fn take(&mut self, _: &Event) -> Result<()> {
            Err(Error::new(ErrorKind::Storage, "the disk is full"))
        }
    }
    let mut desk = Desk::new(2, vec![Box::new(Broken)]);
    for _ in 0..2 {
        desk.learn(0, 500.0, "low");
        desk.learn(1, 1500.0, "high");
    }
    desk.play(1, 500.0);
    let source = desk.event("low at the second", |e| match &e.what {
        What::Began { class, source, .. } if class == "low" => Some(source.clone()),
        _ => None,
    });
    assert_eq!(source, "mic 1");
}

#[test]
fn a_board_that_is_behind_passes_windows_over_and_says_so() {
    let mut desk = Desk::of(1, vec![], true);
    // Two seconds at once are forty hops of sound that waits.
    (0..2 * RATE_HZ as usize / 400).for_each(|_| desk.feed(0, &[0.1; 400]));
    desk.event("the stride", |e| match &e.what {
        What::Notice { source, text, .. } if source == "board" => text.contains("one window in 2 is answered").then_some(()),
        _ => None,
    });
    // Of 39 windows those behind the last that was answered are not known to be passed over yet.
    desk.wait_until("all is heard", |d| {
        let c = d.daemon().handle().counts().unwrap();
        c.windows_skipped > 0 && c.windows + c.windows_skipped + c.stride > 39
    });
    let counts = desk.daemon().handle().counts().unwrap();
    assert!(counts.windows + counts.windows_skipped <= 39, "{counts:?}");
}

#[test]
fn the_oldest_windows_make_room_where_events_are_told_too_slowly() {
    struct Slow(Receiver<()>, Sender<u64>);
    impl Sink for Slow {
        fn take(&mut self, _: &Event) -> Result<()> {
            Ok(())
        }
        fn glance(&mut self, glance: &Glance<'_>) {
            if let Glance::Window { window, .. } = glance {
                self.1.send(*window).unwrap();
                // Held up by the first until the gate is gone.
                _ = self.0.recv();
            }
        }
    }
    let ((gate, held), (tell, told)) = (channel(), channel());
    let backbone = || Box::new(Tones(Duration::ZERO)) as Box<dyn Backbone>;
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Slow(held, tell))];
    let mut desk = Desk::from(Parts { sources: 1, sinks, is_live: true, settings: &Settings::default(), backbone: &backbone });
    // The first window holds telling up; then more come than there are boxes.
    (0..4).for_each(|_| desk.feed(0, &[0.1; 400]));
    let first = told.recv_timeout(LONG).unwrap();
    (4..600).for_each(|_| desk.feed(0, &[0.1; 400]));
    desk.wait_until("all is heard", |d| d.feeds[0].has_room(40_000));
    drop(gate);
    // A board that was busy meanwhile has passed windows over, and of these the last are not known yet.
    desk.wait_until("all is told", |d| {
        let c = d.daemon().handle().counts().unwrap();
        c.frames == 240_000 && c.windows + c.windows_skipped + c.stride > 299
    });
    let counts = desk.daemon().handle().counts().unwrap();
    drop(desk.stop());
    let told: Vec<u64> = std::iter::once(first).chain(told.try_iter()).collect();
    assert!(counts.windows_dropped > 0, "{counts:?}");
    assert_eq!(told.len() as u64 + counts.windows_dropped, counts.windows);
    // The oldest that waited were lost: those behind the first, and none of the newest.
    assert!(told.is_sorted() && told[1] > counts.windows_dropped && told.last() == Some(&counts.windows), "{counts:?} {told:?}");
}

#[test]
fn why_the_backbone_fails_is_told_once_and_every_window_is_counted() {
    struct Fails;
    impl Backbone for Fails {
        fn input(&self) -> GraphInput {
            GraphInput::Waveform
        }
        fn input_len(&self) -> usize {
            WINDOW
        }
        fn dim(&self) -> usize {
            DIM
        }
        fn embed(&mut self, _: &[f32], _: &mut [f32]) -> Result<()> {
            Err(Error::new(ErrorKind::Backbone, "the provider is gone"))
        }
    }
    let backbone = || Box::new(Fails) as Box<dyn Backbone>;
    let mut desk = Desk::from(Parts { sources: 1, sinks: vec![], is_live: false, settings: &Settings::default(), backbone: &backbone });
    (0..100).for_each(|_| desk.feed(0, &[0.1; 400]));
    desk.wait_until("all is heard", |d| d.daemon().handle().counts().unwrap().frames == 40_000);
    let failed = desk.daemon().handle().counts().unwrap().windows_failed;
    let told = desk.stop().into_iter().filter_map(|e| match e.what {
        What::Notice { text, .. } => Some(text),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    assert!(failed >= 20 && told.len() == 1 && told[0].contains("the provider is gone"), "{failed} {told:?}");
}

#[test]
fn a_lost_microphone_is_told_once_until_it_comes_back() {
    let mut desk = Desk::new(2, vec![]);
    let lost = |n: u64| CaptureEvent::Lost { why: "unplugged".into(), retry_in_ms: 250 * n };
    (1..5).for_each(|n| desk.happens[1].send(lost(n)).unwrap());
    desk.happens[1].send(CaptureEvent::Lost { why: "no such device".into(), retry_in_ms: 1 }).unwrap();
    let (device, id, format) = ("Yeti".to_owned(), "alsa:hw:1".to_owned(), "I16".to_owned());
    let opened = CaptureEvent::Opened { device, id, format, channels: 1, rate_hz: RATE_HZ, asked_rate_hz: None, stream: 2 };
    desk.happens[1].send(opened).unwrap();
    desk.happens[1].send(lost(1)).unwrap();
    desk.play(0, 500.0);
    let counts = desk.daemon().handle().counts().unwrap();
    assert!(counts.sources[0].answered_ms_ago.is_some() && counts.sources[1].answered_ms_ago.is_none(), "{counts:?}");
    let told = desk.stop().into_iter().filter_map(|e| match e.what {
        What::Notice { source, text, .. } if source == "mic 1" => Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["lost: unplugged", "lost: no", "hears Yeti", "lost: unplugged"]);
}

#[test]
fn windows_are_learned_once_and_undo_frees_them() {
    let mut desk = Desk::new(1, vec![]);
    let span = desk.play(0, 500.0);
    let first = desk.label(0, span, "low").unwrap();
    desk.event("a head", |e| matches!(e.what, What::Serving { .. }).then_some(()));
    let again = desk.label(0, span, "other").unwrap_err();
    assert!(again.kind() == ErrorKind::Input && again.to_string().contains("labelled already"), "{again}");
    desk.daemon().handle().undo(1, "test").unwrap();
    desk.event("no head", |e| matches!(&e.what, What::Serving { classes, .. } if classes.is_empty()).then_some(()));
    desk.play(0, 500.0);
    assert_eq!(desk.daemon().handle().counts().unwrap().serving, 0, "what was taken back is not named");
    // With the window between the two sounds.
    let free = desk.label(0, span, "other").unwrap();
    assert!(free.rows >= first.rows, "{free:?} {first:?}");
    assert!(desk.stop().iter().all(|e| began(e).is_none_or(|b| b.0 != "low")));
}

#[test]
fn undo_frees_the_windows_of_labels_that_were_given_in_another_order() {
    let mut desk = Desk::new(1, vec![]);
    let [first, second, third] = [500.0, 1500.0, 500.0].map(|hz| desk.play(0, hz));
    let rows: Vec<u64> = [third, first, second].map(|span| desk.label(0, span, "low").unwrap().rows).into();
    desk.daemon().handle().undo(3, "test").unwrap();
    desk.event("no head", |e| matches!(&e.what, What::Serving { classes, .. } if classes.is_empty()).then_some(()));
    let again: Vec<u64> = [third, first, second].map(|span| desk.label(0, span, "other").unwrap().rows).into();
    assert_eq!(again, rows);
}

#[test]
fn a_label_says_of_which_event_and_which_sound_it_is() {
    let mut desk = Desk::new(1, vec![]);
    for _ in 0..2 {
        desk.learn(0, 500.0, "low");
        desk.learn(0, 1500.0, "high");
    }
    let span = desk.play(0, 500.0);
    let id = desk.event("low", |e| began(e).filter(|b| b.0 == "low").map(|b| b.1));
    desk.play(0, 1500.0);
    let labels = LabelSet::single(ClassName::new("low").unwrap());
    desk.daemon().handle().label(Target::Event(id), labels, "test").unwrap();
    desk.label(0, (span.1, u64::MAX), "high").unwrap();
    let told = desk.stop().into_iter().filter_map(|e| match e.what {
        What::Learned { id, span: Some((begin, end)), .. } => Some((id, begin.monotonic_ns, end.monotonic_ns)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let hop_ns = 50_000_000;
    assert_eq!(told.iter().map(|t| t.0).collect::<Vec<_>>(), [Some(id), None]);
    // The event begins and ends with windows that reach into what is beside it.
    assert!(told[0].1.abs_diff(span.0) <= 2 * hop_ns && told[0].2.abs_diff(span.1) <= 2 * hop_ns, "{told:?} {span:?}");
    assert!(told[1].1 < told[1].2 && told[1].1.abs_diff(span.1) <= 2 * hop_ns, "{told:?} {span:?}");
}

#[test]
fn what_is_shown_of_a_window_is_what_decides_when_classes_are_told_each_by_itself() {
    struct Shown(Sender<Vec<(String, f32)>>);
    impl Sink for Shown {
        fn take(&mut self, _: &Event) -> Result<()> {
            Ok(())
        }
        fn glance(&mut self, glance: &Glance<'_>) {
            if let Glance::Window { guesses, .. } = glance {
                // Nobody looks any more once the test has ended.
                drop(self.0.send(guesses.iter().map(|(class, p)| (class.to_string(), *p)).collect()));
            }
        }
    }
    let (show, shown) = channel();
    let mut desk = Desk::new(1, vec![Box::new(Shown(show))]);
    for _ in 0..3 {
        desk.learn(0, 500.0, "low");
        desk.learn(0, 1500.0, "high");
    }
    let span = desk.play(0, 1000.0);
    let both = LabelSet::new(["low", "high"].map(|c| ClassName::new(c).unwrap()).into(), [].into()).unwrap();
    let target = Target::Span { source: Some(0), begin_ns: span.0, end_ns: span.1 };
    desk.daemon().handle().label(target, both, "test").unwrap();
    desk.event("a head", |e| matches!(e.what, What::Serving { .. }).then_some(()));
    desk.events.try_iter().for_each(drop);
    shown.try_iter().for_each(drop);
    desk.play(0, 500.0);
    desk.play(0, 1500.0);
    let windows: Vec<Vec<(String, f32)>> = shown.try_iter().collect();
    let told: Vec<(String, f32)> = desk
        .stop()
        .into_iter()
        .filter_map(|e| match e.what {
            What::Heard { class, probability, .. } => Some((class, probability)),
            _ => None,
        })
        .collect();
    assert!(!told.is_empty(), "{windows:?}");
    // The highest of an event is that of one of its windows.
    assert!(told.iter().all(|event| windows.iter().any(|window| window.contains(event))), "{told:?}: {windows:?}");
    let sums: Vec<f32> = windows.iter().map(|window| window.iter().map(|(_, p)| p).sum()).collect();
    assert!(sums.iter().any(|sum| (sum - 1.0).abs() > 0.01), "not each by itself: {sums:?}");
}

#[test]
fn the_last_seconds_of_several_microphones_are_meant_by_name() {
    let mut desk = Desk::new(2, vec![]);
    desk.play(1, 500.0);
    let labels = || LabelSet::single(ClassName::new("low").unwrap());
    let last = |source| Target::Last { source, ms: 60_000 };
    for (source, why) in [(None, "names none"), (Some(2), "no such microphone"), (Some(0), "no window is held")] {
        let error = desk.daemon().handle().label(last(source), labels(), "test").unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_sound_that_ends_gives_the_padded_window_of_a_file_and_ends_what_is_heard() {
    let mut desk = Desk::new(1, vec![]);
    desk.learn(0, 500.0, "low");
    let (_, end_ns) = desk.play(0, 500.0);
    // More than half a hop that no whole window covers.
    let rest: Vec<f32> = (0..500).map(|i| 0.5 * (std::f32::consts::TAU * 500.0 * i as f32 / RATE_HZ as f32).sin()).collect();
    desk.feed(0, &rest);
    desk.feeds.clear();
    desk.wait_until("ended", |d| d.daemon().has_ended());
    assert!(desk.daemon().check().is_err());
    desk.daemon.take().unwrap().stop().unwrap();
    let heard_until = desk.events.try_iter().filter_map(|e| match e.what {
        What::Heard { span: Some((_, end)), .. } => Some(end.monotonic_ns),
        _ => None,
    });
    // A window's length behind its begin, which is half a window before the last whole one's end.
    let last = heard_until.max().expect("what is heard is ended");
    assert!(last.abs_diff(end_ns + 50_000_000) < 2_000_000, "{} ms behind the last whole window", (last as f64 - end_ns as f64) / 1e6);
}

#[test]
fn an_unsure_window_is_asked_about_and_a_label_answers_the_question() {
    let mut desk = Desk::asking();
    for _ in 0..2 {
        desk.learn(0, 500.0, "low");
        desk.learn(0, 1500.0, "high");
    }
    // Between what it knows.
    desk.play(0, 1000.0);
    let (window, guesses) = desk.event("a question", |e| match &e.what {
        What::Asked { window, guesses, .. } => Some((*window, guesses.len())),
        _ => None,
    });
    assert_eq!(guesses, 2);
    let asked = |desk: &Desk| desk.daemon().handle().questions().unwrap().iter().filter(|q| q.window == window).count();
    assert_eq!(asked(&desk), 1);
    let labels = LabelSet::single(ClassName::new("middle").unwrap());
    desk.daemon().handle().label(Target::Window(window), labels, "test").unwrap();
    assert_eq!(asked(&desk), 0);
}

fn adapter_in(desk: &Desk, name: &str) -> Adapter {
    Adapter::open(&desk.folder.path().join(name), Access::Write).unwrap()
}

fn classes(adapter: &Adapter) -> Vec<String> {
    let block = adapter.block(BlockKind::Latents).unwrap();
    block.iter().flat_map(|b| b.classes()).filter(|(_, sums)| sums.n > 0).map(|(class, _)| class.to_string()).collect()
}

#[test]
fn windows_that_nobody_named_become_background_at_their_rate_and_undo_passes_them_over() {
    // A window a second, once it has left the second that is held.
    let mut desk = Desk::with(1, vec![], false, &Settings { recent_s: 1, background_per_hour: 3600.0, ..Settings::default() });
    let spans: Vec<_> = [500.0, 1500.0, 500.0, 1500.0].map(|hz| desk.play(0, hz)).into();
    let labels = LabelSet::single(ClassName::new("high").unwrap());
    let span = Target::Span { source: None, begin_ns: spans[3].0, end_ns: spans[3].1 };
    let refused = desk.daemon().handle().label(span, labels, ORDINARY).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Input, "what nobody said is nobody's");
    desk.label(0, spans[3], "high").unwrap();
    assert_eq!(desk.daemon().handle().undo(1, "test").unwrap().rows, 20);
    assert_eq!(desk.daemon().handle().undo(1, "test").unwrap_err().kind(), ErrorKind::Input, "nobody gave another label");
    let told = desk.stop();
    let by = |e: &Event| matches!(&e.what, What::Learned { by, classes, rows: 1, .. } if by == ORDINARY && classes.is_empty());
    let ordinary = told.iter().filter(|e| by(e)).count();
    assert!((2..=3).contains(&ordinary), "{ordinary}");
    let adapter = adapter_in(&desk, "a");
    let background = adapter.block(BlockKind::Background).unwrap().unwrap();
    assert_eq!((background.rows(), classes(&adapter)), (ordinary as u64, vec![]));
}

#[test]
fn another_adapter_takes_its_place_while_sound_goes_on_and_the_one_before_is_whole() {
    let mut desk = Desk::new(1, vec![]);
    desk.learn(0, 500.0, "low");
    desk.learn(0, 1500.0, "high");
    let span = desk.play(0, 1000.0);
    desk.label(0, span, "middle").unwrap();
    let creation = Adapter::open(&desk.folder.path().join("a"), Access::Read).unwrap().header().creation.clone();
    let other = Adapter::create(&desk.folder.path().join("b"), creation.clone(), [8; 16]).unwrap();
    let strange = Creation { space: SpaceId([4; 32]), ..creation };
    let strange = Adapter::create(&desk.folder.path().join("c"), strange, [7; 16]).unwrap();
    let refused = desk.daemon().handle().swap(Learning::new(strange, 1, Budget::default()).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Mismatch);
    desk.daemon().handle().swap(Learning::new(other, 1, Budget::default()).unwrap()).unwrap();
    // What the first had learned the second has not.
    desk.label(0, span, "deep").unwrap();
    desk.learn(0, 500.0, "deeper");
    let (_, lost) = (desk.play(0, 500.0), desk.daemon().handle().counts().unwrap());
    assert_eq!((lost.windows_dropped, lost.frames_lost), (0, 0));
    desk.event("an event of the second", |e| began(e).filter(|b| b.0 == "deeper"));
    desk.stop();
    assert_eq!(classes(&adapter_in(&desk, "a")), ["high", "low", "middle"]);
    assert_eq!(classes(&adapter_in(&desk, "b")), ["deep", "deeper"]);
}

#[test]
fn a_board_that_is_spared_answers_each_sound_once() {
    let mut desk = Desk::with(1, vec![], false, &Settings { nice: true, ..Settings::default() });
    let sound: Vec<f32> = (0..3 * RATE_HZ as usize).map(|i| 0.5 * (i as f32 * 0.2).sin()).collect();
    sound.chunks(480).for_each(|block| desk.feed(0, block));
    // 3 s are 30 windows that do not overlap.
    desk.wait_until("heard", |d| d.daemon().handle().counts().unwrap().windows >= 30);
    let counts = desk.daemon().handle().counts().unwrap();
    assert_eq!((counts.windows, counts.stride, counts.windows_skipped), (30, 2, 0));
}
