//! The database of events: paged, bounded, damaged, foreign, read while it is written.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::format::tests::heard;
use super::*;
use crate::event::Level;
use crate::units::Moment;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    (folder, path)
}

fn notice(text: &str) -> Event {
    Event::new(Moment::UNKNOWN, 3, What::Notice { level: Level::Info, source: "board".into(), text: text.into() })
}

fn numbers(page: &[(u64, Event)]) -> Vec<u64> {
    page.iter().map(|(number, _)| *number).collect()
}

#[test]
fn pages_are_newest_first_and_go_on_before_a_number() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 1000).unwrap();
    assert_eq!(database.next_number().unwrap(), 1);
    let all: Vec<Event> =
        (1..=10).map(|n| if n % 3 == 0 { notice("x") } else { heard(n, "mic", if n % 2 == 0 { "wren" } else { "jay" }) }).collect();
    all.iter().for_each(|e| database.take(e).unwrap());
    let history = History::new(&path);
    let first = history.page(None, 4, None, None).unwrap();
    assert_eq!(numbers(&first), [10, 9, 8, 7]);
    assert!(first.iter().all(|(n, e)| *e == all[*n as usize - 1]), "events come back as they were");
    assert_eq!(numbers(&history.page(Some(7), 100, None, None).unwrap()), [6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(&history.page(None, 100, Some("notice"), None).unwrap()), [9, 6, 3]);
    assert_eq!(numbers(&history.page(Some(8), 2, Some("heard"), Some("jay")).unwrap()), [7, 5]);
    assert_eq!(numbers(&history.page(None, 100, None, Some("wren")).unwrap()), [10, 8, 4, 2]);
    assert!(history.page(None, 100, None, Some("' OR 1 --")).unwrap().is_empty());
    assert!(history.page(None, 0, None, None).unwrap().is_empty() && history.page(Some(1), 9, None, None).unwrap().is_empty());
    assert_eq!((history.next_number().unwrap(), database.next_number().unwrap()), (11, 11));
}

#[test]
fn a_label_of_several_classes_is_found_by_each() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 1000).unwrap();
    let learned = |classes: &[&str]| {
        let classes = classes.iter().map(|c| (*c).to_owned()).collect();
        Event::new(
            Moment::UNKNOWN,
            3,
            What::Learned { source: "mic".into(), id: None, span: None, classes, rows: 1, by: "test".into(), durable: true },
        )
    };
    let serving = Event::new(
        Moment::UNKNOWN,
        3,
        What::Serving { classes: vec!["jay".into()], unnamed: 0, took_ms: 1.0, untried: false, refused: None },
    );
    let all = [learned(&["wren", "jay"]), heard(2, "mic", "jay"), learned(&[]), learned(&["robin"]), serving, learned(&["wren"])];
    all.iter().for_each(|e| database.take(e).unwrap());
    let history = History::new(&path);
    let of = |kind, class| numbers(&history.page(None, 100, kind, Some(class)).unwrap());
    assert_eq!((of(None, "jay"), of(None, "wren")), (vec![2, 1], vec![6, 1]));
    assert_eq!((of(Some("learned"), "jay"), of(Some("heard"), "wren")), (vec![1], vec![]));
}

#[test]
fn every_page_is_read_in_the_order_of_an_index() {
    let (_folder, path) = folder();
    let connection = Database::open(&path, 1000).unwrap().connection.unwrap();
    for (kind, class, index) in [
        (None, None, "PRIMARY KEY"),
        (Some("heard"), None, "events_of_kind (kind=? AND number<?)"),
        (None, Some("wren"), "events_of_class (class=? AND number<?)"),
        (Some("heard"), Some("wren"), "events_of_class (class=? AND number<?)"),
        (Some("learned"), Some("wren"), "events_of_class (class=? AND number<?)"),
    ] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", question(kind, class))).unwrap();
        let unnamed = vec![Value::Null; statement.parameter_count()];
        let plan: Vec<String> =
            statement.query_map(params_from_iter(unnamed), |row| row.get(3)).unwrap().map(|line| line.unwrap()).collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{kind:?} {class:?}: {plan}");
    }
}

#[test]
fn columns_hold_what_one_may_ask_for() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 1000).unwrap();
    database.take(&heard(1, "mic", "wren")).unwrap();
    database.take(&notice("x")).unwrap();
    let sql = "SELECT at_ms, kind, class, source, begin_ms, end_ms, probability, unknown, generation FROM events ORDER BY number";
    let text = |v: Value| match v {
        Value::Null => "-".to_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(t) => t,
        Value::Blob(_) => "blob".to_owned(),
    };
    let connection = Connection::open(&path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((0..9).map(|i| text(row.get(i).unwrap())).collect::<Vec<_>>().join(" "))).unwrap();
    let rows: Vec<String> = rows.map(|r| r.unwrap()).collect();
    assert_eq!(rows, ["1795751375720 heard wren mic 1795751374120 1795751375620 0.75 0.125 7", "- notice - board - - - - 3"]);
}

#[test]
fn a_database_that_is_opened_again_goes_on() {
    let (_folder, path) = folder();
    for n in 1..=3 {
        let mut database = Database::open(&path, 1000).unwrap();
        assert_eq!(database.next_number().unwrap(), n);
        database.take(&heard(n, "mic", "wren")).unwrap();
    }
    assert_eq!(numbers(&History::new(&path).page(None, 9, None, None).unwrap()), [3, 2, 1]);
}

#[test]
fn the_oldest_events_make_room_and_the_file_stops_growing() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 300).unwrap();
    let held = |p: &Path| Connection::open(p).unwrap().query_row("SELECT count(*) FROM events", [], |r| r.get::<_, i64>(0)).unwrap() as u64;
    let mut grown = 0;
    for n in 1..=3000u64 {
        database.take(&heard(n, "mic", "wren")).unwrap();
        if n % 128 == 0 {
            assert!(held(&path) < 300 + BATCH, "{n}: {}", held(&path));
        }
        if n == 1500 {
            grown = size_after_checkpoint(&path);
        }
    }
    assert!(held(&path) >= 300);
    assert!(size_after_checkpoint(&path) <= grown + 8 * 4096, "{grown}, then {}", size_after_checkpoint(&path));
    let newest = History::new(&path).page(None, 1, None, None).unwrap();
    assert_eq!(numbers(&newest), [3000]);
}

fn size_after_checkpoint(path: &Path) -> u64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_file_that_is_no_database_is_set_aside_and_listening_goes_on() {
    let (folder, path) = folder();
    fs::write(&path, "no database at all, though it has the name of one ".repeat(100)).unwrap();
    assert_eq!(History::new(&path).page(None, 1, None, None).unwrap_err().kind(), ErrorKind::Corrupt);
    let mut database = Database::open(&path, 1000).unwrap();
    database.take(&heard(1, "mic", "wren")).unwrap();
    assert_eq!(numbers(&History::new(&path).page(None, 9, None, None).unwrap()), [1]);
    assert!(fs::read_to_string(folder.path().join("events.db.damaged")).unwrap().starts_with("no database at all"));
}

#[test]
fn a_database_that_is_damaged_while_it_is_written_is_set_aside_and_the_event_is_kept() {
    let (folder, path) = folder();
    let mut database = Database::open(&path, 1000).unwrap();
    (1..=200).for_each(|n| database.take(&heard(n, "mic", "wren")).unwrap());
    drop(database);
    // Every page but the first, which has the schema.
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 3 * 4096);
    bytes[4096..].iter_mut().for_each(|b| *b = 0xa5);
    fs::write(&path, &bytes).unwrap();
    let mut database = Database::open(&path, 1000).unwrap();
    database.take(&heard(201, "mic", "wren")).unwrap();
    let page = History::new(&path).page(None, 9, None, None).unwrap();
    assert_eq!(page, [(1, heard(201, "mic", "wren"))]);
    assert!(folder.path().join("events.db.damaged").exists());
}

#[test]
fn a_database_without_the_columns_that_its_schema_promises_is_set_aside_too() {
    let (folder, path) = folder();
    drop(Database::open(&path, 1000).unwrap());
    Connection::open(&path).unwrap().execute_batch("ALTER TABLE events RENAME COLUMN source TO sourde").unwrap();
    let mut database = Database::open(&path, 1000).unwrap();
    database.take(&heard(1, "mic", "wren")).unwrap();
    assert_eq!(numbers(&History::new(&path).page(None, 9, None, None).unwrap()), [1]);
    assert!(folder.path().join("events.db.damaged").exists());
}

#[test]
fn newer_schemas_and_other_programs_are_refused_and_left_as_they_are() {
    let (_folder, path) = folder();
    drop(Database::open(&path, 1000).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    for error in [Database::open(&path, 1000).unwrap_err(), History::new(&path).page(None, 1, None, None).unwrap_err()] {
        assert!(error.kind() == ErrorKind::Mismatch && error.to_string().contains("schema 2"), "{error}");
    }
    let other = path.with_file_name("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE birds(name TEXT)").unwrap();
    for error in [Database::open(&other, 1000).unwrap_err(), History::new(&other).next_number().unwrap_err()] {
        assert!(error.kind() == ErrorKind::Mismatch && error.to_string().contains("another program"), "{error}");
    }
    assert!(!path.with_file_name("other.db.damaged").exists());
    assert_eq!(History::new("no/such.db").next_number().unwrap_err().kind(), ErrorKind::Missing);
    assert_eq!(Database::open(&path, 0).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn an_event_of_a_later_version_is_left_out_of_a_page_and_does_not_shorten_it() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 1000).unwrap();
    (1..=4).for_each(|n| database.take(&heard(n, "mic", "wren")).unwrap());
    let later = r#"UPDATE events SET json = '{"schema":1,"event":"flown"}' WHERE number = 3"#;
    Connection::open(&path).unwrap().execute_batch(later).unwrap();
    assert_eq!(numbers(&History::new(&path).page(None, 3, None, None).unwrap()), [4, 2, 1]);
}

#[test]
fn pages_are_whole_while_the_writer_writes() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, 300).unwrap();
    database.take(&heard(1, "mic", "wren")).unwrap();
    let history = History::new(&path);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || (2..=2000).for_each(|n| database.take(&heard(n, "mic", "wren")).unwrap()));
        let mut last = 0;
        while !writer.is_finished() || last == 0 {
            let page = history.page(None, 50, Some("heard"), Some("wren")).unwrap();
            assert!(page.windows(2).all(|w| w[0].0 == w[1].0 + 1), "{:?}", numbers(&page));
            assert!(page.iter().all(|(n, e)| *e == heard(*n, "mic", "wren")) && page[0].0 >= last);
            last = page[0].0;
        }
    });
    assert_eq!(history.next_number().unwrap(), 2001);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_bytes_damaged_anywhere_leave_a_database_that_takes_events(at in 0.0..1.0f64, with in proptest::collection::vec(any::<u8>(), 1..600)) {
        let (_folder, path) = folder();
        let mut database = Database::open(&path, 1000).unwrap();
        (1..=40).for_each(|n| database.take(&heard(n, "mic", "wren")).unwrap());
        drop(database);
        let mut bytes = fs::read(&path).unwrap();
        let begin = (bytes.len() as f64 * at) as usize;
        bytes.iter_mut().skip(begin).zip(&with).for_each(|(b, w)| *b = *w);
        fs::write(&path, &bytes).unwrap();
        // A damaged mark may make it another program's.
        match Database::open(&path, 1000) {
            Ok(mut database) => database.take(&heard(41, "mic", "wren")).unwrap(),
            Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Mismatch, "{}", e),
        }
        // It answers or says why not.
        let _ = History::new(&path).page(None, 9, None, None);
    }
}
