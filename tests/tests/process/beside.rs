//! A writing process, and others beside it: a second writer is refused, a reader sees the state of one moment.

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::store::{Access, Adapter, Recovery};

use crate::child::Other;
use crate::rows::{Ledger, create};

#[test]
fn a_second_writer_is_refused_while_the_first_lives_and_let_in_when_it_is_killed() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    drop(create(&folder));
    let mut other = Other::start("obey", &folder);
    other.expect("opened");
    for word in ["learn 1 3 8", "compact"] {
        let error = Adapter::open(&folder, Access::Write).err().unwrap();
        assert!(error.kind() == ErrorKind::Busy && error.to_string().contains("another process"), "{error}");
        other.tell(word);
        other.expect(&format!("{word}: done"));
    }
    let error = Adapter::open(&folder, Access::Write).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "after it has replaced the files too: {error}");
    other.child.kill().unwrap();
    other.end();
    let mut ledger = Ledger::new();
    ledger.learn(3);
    ledger.check(&Adapter::open(&folder, Access::Write).unwrap(), "the first is gone");
}

#[test]
fn readers_beside_a_writing_process_see_what_was_taught_until_one_moment() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    drop(create(&folder));
    let mut other = Other::start("obey", &folder);
    other.expect("opened");
    // One row a label: how many are counted says which moment it is.
    let mut moments = vec![Ledger::new()];
    let (mut seen, mut taken_meanwhile, mut torn) = (0, 0, 0);
    for step in 0..400u64 {
        let mut next = moments[step as usize].clone();
        next.learn(1);
        moments.push(next);
        let learn = format!("learn {} 1 {}", step + 1, [8, 7_000, 300][step as usize % 3]);
        let also = (step % 16 == 15).then_some(if step % 80 == 79 { "compact" } else { "checkpoint" });
        other.tell(&learn);
        also.into_iter().for_each(|word| other.tell(word));
        // While it is at it.
        match Adapter::open(&folder, Access::Read) {
            Ok(reader) => {
                let rows = reader.held_rows() + reader.evicted_rows();
                assert!((step..=step + 1).contains(&rows), "step {step}: {rows} rows");
                match reader.rows(|_| Ok(())) {
                    Ok(()) => moments[rows as usize].check(&reader, &format!("step {step}")),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Busy, "step {step}: {e}"),
                }
                torn += u64::from(reader.recovery() != Recovery::Clean);
                seen += 1;
            }
            // It replaced what was being read eight times over.
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Missing), "step {step}: {e}");
                taken_meanwhile += 1;
            }
        }
        other.expect(&format!("{learn}: done"));
        also.into_iter().for_each(|word| other.expect(&format!("{word}: done")));
    }
    assert!(seen > 350, "{seen} states seen, {taken_meanwhile} times it was too quick");
    // Only of a writer that is held up in the middle of a write for 15 milliseconds can a reader think so.
    assert!(torn <= 2, "{torn} of {seen} readers took what was being written for torn");
    assert!(other.end().success());
    moments[400].check(&Adapter::open(&folder, Access::Read).unwrap(), "at the end");
}
