//! Files of events: gone on with, torn, foreign, full, moved.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::format::tests::heard;
use super::*;

const ALL: [Format; 4] = [Format::Json, Format::Csv, Format::Raven, Format::Audacity];

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    (folder, path)
}

fn add(path: &Path, format: Format, ids: impl IntoIterator<Item = u64>) {
    let mut file = EventFile::open(path, format, 1).unwrap();
    ids.into_iter().for_each(|id| file.take(&heard(id, "mic", "wren")).unwrap());
}

/// What a file should hold that these were written to.
fn lines(format: Format, ids: impl IntoIterator<Item = u64>) -> String {
    let line = |(n, id)| format.line(&heard(id, "mic", "wren"), n as u64 + 1).unwrap().unwrap();
    format.header().to_owned() + &ids.into_iter().enumerate().map(line).collect::<String>()
}

#[test]
fn a_file_is_gone_on_with_under_one_header_and_selections_go_on() {
    for format in ALL {
        let (_folder, path) = folder();
        add(&path, format, []);
        add(&path, format, 1..4);
        add(&path, format, 4..6);
        assert_eq!(fs::read_to_string(&path).unwrap(), lines(format, 1..6), "{format:?}");
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    for format in ALL {
        for there in ["# notes\n", "id,source,class\n1,mic,wren\n", "notes without an end", "\n"] {
            let (_folder, path) = folder();
            fs::write(&path, there).unwrap();
            let error = EventFile::open(&path, format, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{format:?} {there:?}: {error}");
            assert!(error.to_string().contains("events.csv") && error.to_string().contains("name another file"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), there);
        }
    }
    let (folder, path) = folder();
    add(&path, Format::Raven, [1]);
    assert_eq!(EventFile::open(&path, Format::Csv, 1).unwrap_err().kind(), ErrorKind::Input);
    assert_eq!(EventFile::open(folder.path(), Format::Csv, 1).unwrap_err().kind(), ErrorKind::Input);
    assert_eq!(EventFile::open(&path, Format::Raven, 0).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn space_without_bytes_after_a_power_cut_is_cut_off() {
    for format in ALL {
        let (_folder, path) = folder();
        fs::write(&path, [0; 5000]).unwrap();
        add(&path, format, [1]);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(vec![0; STEP as usize + 7]);
        fs::write(&path, &bytes).unwrap();
        add(&path, format, [2]);
        assert_eq!(fs::read_to_string(&path).unwrap(), lines(format, 1..3), "{format:?}");
    }
}

#[test]
fn a_full_file_is_rotated_away_and_disk_use_is_bounded() {
    for format in ALL {
        let (folder, path) = folder();
        let (one, header) = (lines(format, [1]).len() as u64, format.header().len() as u64);
        let limit = header + 10 * (one - header) + 5;
        let mut file = EventFile::open_bytes(&path, format, limit).unwrap();
        for id in 1..=35 {
            file.take(&heard(id, "mic", "wren")).unwrap();
            let used: u64 = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
            assert!(used <= 2 * limit, "{format:?}: {used} of {limit}");
        }
        drop(file);
        let text = [folder.path().join("events.1.csv"), path].map(|p| fs::read_to_string(p).unwrap());
        assert!(text.iter().all(|t| t.starts_with(format.header())), "{format:?}");
        let count = |t: &String| (t.len() - header as usize).div_ceil((one - header) as usize);
        assert!(count(&text[0]) >= 9 && !text[1].is_empty(), "{format:?}: {text:?}");
        if format == Format::Raven {
            assert!(text.iter().all(|t| t.lines().nth(1).is_some_and(|l| l.starts_with("1\t"))), "{text:?}");
        }
    }
}

#[test]
fn an_event_that_is_longer_than_its_file_may_be_is_refused_and_the_next_is_written() {
    let (folder, path) = folder();
    let mut file = EventFile::open_bytes(&path, Format::Csv, 400).unwrap();
    let error = file.take(&heard(1, "mic", &"x".repeat(400))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    file.take(&heard(1, "mic", "wren")).unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(Format::Csv, [1]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was rotated away for it");
}

#[test]
fn a_file_has_one_writer() {
    let (_folder, path) = folder();
    let first = EventFile::open(&path, Format::Csv, 1).unwrap();
    assert_eq!(EventFile::open(&path, Format::Csv, 1).unwrap_err().kind(), ErrorKind::Busy);
    drop(first);
    EventFile::open(&path, Format::Csv, 1).unwrap();
}

#[test]
fn a_file_that_was_moved_or_deleted_is_begun_anew() {
    let (folder, path) = folder();
    let mut file = EventFile::open(&path, Format::Raven, 1).unwrap();
    file.take(&heard(1, "mic", "wren")).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    file.take(&heard(2, "mic", "wren")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(Format::Raven, [2]));
    fs::remove_file(&path).unwrap();
    file.take(&heard(3, "mic", "wren")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(Format::Raven, [3]));
    assert_eq!(fs::read_to_string(folder.path().join("moved")).unwrap(), lines(Format::Raven, [1]));
}

#[test]
fn what_a_failed_write_left_is_cut_off_before_the_next() {
    let (_folder, path) = folder();
    let mut file = EventFile::open(&path, Format::Csv, 1).unwrap();
    file.take(&heard(1, "mic", "wren")).unwrap();
    // As a full disk leaves it.
    let mut beside = OpenOptions::new().append(true).open(&path).unwrap();
    beside.write_all(b"2,mi").unwrap();
    file.is_torn = true;
    file.take(&heard(2, "mic", "wren")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(Format::Csv, 1..3));
}

#[test]
fn what_a_failed_write_left_is_not_rotated_away_with_what_is_whole() {
    let (folder, path) = folder();
    let limit = lines(Format::Csv, [1]).len() as u64 + 10;
    let mut file = EventFile::open_bytes(&path, Format::Csv, limit).unwrap();
    file.take(&heard(1, "mic", "wren")).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2,mi").unwrap();
    file.is_torn = true;
    file.take(&heard(2, "mic", "wren")).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("events.1.csv")).unwrap(), lines(Format::Csv, [1]));
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(Format::Csv, [2]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_that_is_cut_anywhere_loses_its_last_line_at_most(format in 0..4usize, before in 0..4u64, cut in 0.0..1.0f64) {
        let (format, (_folder, path)) = (ALL[format], folder());
        add(&path, format, 1..=before);
        let whole = fs::read(&path).unwrap();
        let kept = (whole.len() as f64 * cut) as usize;
        fs::write(&path, &whole[..kept]).unwrap();
        let lines_kept = whole[..kept].iter().filter(|b| **b == b'\n').count();
        let events_kept = lines_kept.saturating_sub(usize::from(!format.header().is_empty())) as u64;
        add(&path, format, [9]);
        prop_assert_eq!(fs::read_to_string(&path).unwrap(), lines(format, (1..=events_kept).chain([9])));
    }
}
