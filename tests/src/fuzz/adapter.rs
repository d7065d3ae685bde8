//! An adapter's files: opening them gives an adapter or an error, reading and writing agree on which, what was opened for
//! writing opens again as the same, and it goes on learning and correcting.

use wheatear::ErrorKind;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::store::frame::FRAME_LEN_BYTES;
use wheatear::store::header::STORE_FORMAT;
use wheatear::store::record::{Link, encode_rows};
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use super::lives::{OWN, all, batch};
use super::memory::{CHUNKS, Disk, STATE};
use super::patch::{CORRECTS, Case, Operation, VALUES, case, encoded, first, newest_root, numbers_called, replaced, whole};
use super::pieces::Role;
use super::rows::{borrowed, draft, rows, some};

/// Adapters whose changed header makes files longer than this are not tried.
const FILE_LEN_MAX_BYTES: u64 = 32 << 20;

/// What can be seen of an open adapter.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    generation: u64,
    checkpoint_generation: u64,
    digest: Option<[u8; 32]>,
    sources: Vec<(u64, bool, u64)>,
    origin: Origin,
    origins: Vec<Origin>,
    replay: Option<Replay>,
}

/// What can be seen of the rows that it holds.
#[derive(Debug, Clone, PartialEq)]
struct Replay {
    held_rows: Result<usize, String>,
    evicted_rows: u64,
}

fn seen(adapter: &Adapter) -> Seen {
    let mut held = 0;
    let rows = adapter.rows(|learned| {
        held += learned.rows.len();
        Ok(())
    });
    Seen {
        generation: adapter.generation(),
        checkpoint_generation: adapter.checkpoint_generation(),
        digest: adapter.statistics_digest().ok(),
        sources: adapter.sources().map(|s| (s, adapter.has_source(s), adapter.rows_of_unfinished(s))).collect(),
        origin: adapter.origin(),
        origins: adapter.origins(),
        replay: Some(Replay { held_rows: rows.map(|()| held).map_err(|e| e.to_string()), evicted_rows: adapter.evicted_rows() }),
    }
}

/// The folder of the adapter that `data` describes; `None` when its header cannot be read, or asks for long files.
pub fn disk(data: &[u8]) -> Option<(Disk, Header, Case)> {
    let mut case = case(data);
    let header = Header::decode(&case.header).ok()?;
    let rewritten = Header::new(header.creation.clone(), header.adapter_id);
    let too_long = |h: &Header| h.chunk_file_len_bytes().max(h.state_file_len_bytes()) > FILE_LEN_MAX_BYTES;
    if too_long(&header) || rewritten.is_ok_and(|h| too_long(&h)) {
        return None;
    }
    case.files[CHUNKS].resize(header.chunk_file_len_bytes());
    case.files[STATE].resize(header.state_file_len_bytes());
    Some((Disk::of(&header, &case.header, case.files.clone()), header, case))
}

/// Takes `data` as changes to a good adapter.
pub fn run(data: &[u8]) {
    let Some((disk, header, case)) = disk(data) else { return };
    let untouched = disk.files();
    let read = disk.open(Access::Read).map(|a| (seen(&a), a.recovery(), a.damaged_chunks()));
    assert!(disk.files() == untouched, "a reader writes nothing");
    let mut adapter = match (disk.open(Access::Write), read) {
        (Ok(adapter), Ok((read, recovery, damaged))) => {
            let writes = seen(&adapter);
            if header.format == STORE_FORMAT {
                assert_eq!((&writes, adapter.recovery(), adapter.damaged_chunks()), (&read, recovery, damaged), "reader and writer");
            } else {
                // It was written anew: what had been damaged is gone.
                let same = |s: &Seen| (s.digest, s.sources.clone(), s.replay.clone());
                assert_eq!((same(&writes), adapter.recovery()), (same(&read), recovery), "reader and writer");
            }
            adapter
        }
        (Err(write), Err(read)) => return assert_eq!(write.kind(), read.kind(), "{write}\n{read}"),
        (Ok(_), Err(e)) => panic!("only a writer can open it: {e}"),
        // Another version may have had wider bounds.
        (Err(e), Ok(_)) if header.format < STORE_FORMAT && matches!(e.kind(), ErrorKind::Config | ErrorKind::Limit) => return,
        (Err(e), Ok(_)) => panic!("only a reader can open it: {e}"),
    };
    let before = seen(&adapter);
    let clean = (before.clone(), Recovery::Clean, adapter.damaged_chunks());
    // What was torn is wiped when a writer opens it; a forged name of a chunk stays where none is looked for.
    let mended = |(seen, recovery, damaged)| (seen, if case.forged { Recovery::Clean } else { recovery }, damaged);
    assert_eq!(mended(reopened(&disk, Access::Read, "after a writer had opened it")), clean);
    assert_eq!(mended(reopened(&disk, Access::Write, "after two writers had opened it")), clean);
    let again = |adapter: &Adapter, access, when| stays(adapter, &disk, access, case.forged, when);
    // Goes on: what is learned is there, before and after a checkpoint.
    let (dim, bits) = (header.creation.dim as usize, header.creation.bits);
    let learned = adapter.learn(&batch(OWN, 79, "teach"), &borrowed(&rows(&some(2, dim), dim, bits)), Durability::Now);
    let now = seen(&adapter);
    match learned {
        Ok(done) => assert_eq!(done.generation, now.generation, "the acknowledged generation"),
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Limit | ErrorKind::Learn) || case.forged, "learning failed in a strange way: {e}");
            assert_eq!(now, before, "a refused row changes nothing");
        }
    }
    if !again(&adapter, Access::Read, "after it had learned") {
        return;
    }
    if let Err(e) = adapter.checkpoint() {
        assert_eq!(e.kind(), ErrorKind::Limit, "a checkpoint failed in a strange way: {e}");
    }
    if again(&adapter, Access::Write, "after a checkpoint") && case.corrects {
        correct(adapter, &disk, case.forged);
    }
}

/// Opens again what was written by `adapter`; false when it was forged so that it is refused now.
///
/// A forged root can name a place where a row lies already: replay then loses that row, and the statistics do not. Or one
/// where an older journal lies ahead, so that what is written next seems to have lost what follows it.
fn stays(adapter: &Adapter, disk: &Disk, access: Access, forged: bool, when: &str) -> bool {
    let judged = |seen: Seen| if forged { Seen { replay: None, ..seen } } else { seen };
    match disk.open(access) {
        Ok(again) => assert_eq!(judged(seen(&again)), judged(seen(adapter)), "{when}"),
        Err(e) if forged && e.kind() == ErrorKind::Corrupt => return false,
        Err(e) => panic!("{when}: {e}"),
    }
    true
}

/// Corrections and rewriting are done or refused, and what they leave opens again as it is.
fn correct(mut adapter: Adapter, disk: &Disk, forged: bool) {
    let labels = LabelSet::single(ClassName::new("jay").expect("a good name"));
    let row = adapter.held_labels().map(|(id, ..)| id).next();
    type Correction<'a> = &'a dyn Fn(&mut Adapter) -> wheatear::Result<()>;
    let corrections: [(&str, Correction<'_>); 4] = [
        ("undone", &|a| a.undo(1, Durability::Now).map(drop)),
        ("relabelled", &|a| a.relabel(&[row.unwrap_or(0)], &labels, "a person", Durability::Now).map(drop)),
        ("forgotten", &|a| a.forget(&ClassName::new("robin")?, Durability::Now).map(drop)),
        ("written anew", &Adapter::compact),
    ];
    for (what, correction) in corrections {
        let before = seen(&adapter);
        if let Err(e) = correction(&mut adapter) {
            // Rows that were forged can fail to be taken back when a first commit is done already; then it is opened again.
            assert!(matches!(e.kind(), ErrorKind::Input | ErrorKind::Limit) || forged, "{what}: {e}");
            assert!(seen(&adapter) == before || forged, "{what} was refused, and yet something changed: {e}");
            let Ok(opened) = disk.open(Access::Write) else { return assert!(forged, "{what}") };
            adapter = opened;
        }
        if !stays(&adapter, disk, Access::Read, forged, what) {
            return;
        }
    }
}

fn reopened(disk: &Disk, access: Access, when: &str) -> (Seen, Recovery, u64) {
    let adapter = disk.open(access).unwrap_or_else(|e| panic!("{when}: {e}"));
    (seen(&adapter), adapter.recovery(), adapter.damaged_chunks())
}

/// Each life as it is, with small damage to each kind of piece, and with forged numbers.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let whole_lives = all().iter().enumerate().flat_map(|(i, life)| {
        [(life.name.to_owned(), vec![i as u8, 0]), (format!("{}-and-corrections", life.name), vec![i as u8, CORRECTS])]
    });
    let mut seeds: Vec<(String, Vec<u8>)> = whole_lives.collect();
    let mut add = |name: &str, life: u8, flags: u8, changes: &[Vec<u8>]| {
        seeds.push((format!("{}-{name}", all()[usize::from(life)].name), [vec![life, flags], changes.concat()].concat()));
    };
    for (life, role, name) in [
        (0, Role::Root, "root"),
        (0, Role::Part, "part"),
        (0, Role::Record, "record"),
        (1, Role::Edge, "edge"),
        (1, Role::Record, "record"),
        (2, Role::Record, "record"),
        (4, Role::Record, "record"),
        (4, Role::Part, "part"),
        (5, Role::Root, "root"),
        (6, Role::Record, "record"),
    ] {
        let (piece, body) = first(life, role);
        let changes =
            [encoded(Operation::Overwrite, piece, 24 + body / 2, &[0x55, 0xaa]), encoded(Operation::Add, piece, 24 + body / 3, &[1])];
        add(&format!("{name}-changed"), life as u8, 0, &changes);
        add(&format!("{name}-damaged"), life as u8, 7, &changes[..1]);
        add(&format!("{name}-shorter"), life as u8, 0, &[encoded(Operation::Truncate, piece, 24 + body / 2, &[])]);
        add(&format!("{name}-longer"), life as u8, 0, &[encoded(Operation::Insert, piece, 24 + body / 2, &[0; 8])]);
    }
    for life in [0, 1] {
        let root = newest_root(life);
        for name in ["generation", "chain", "sequence", "offset", "oldest_sequence", "next_row", "evicted_rows", "len_bytes"] {
            let place = numbers_called(life, root, name)[0];
            add(&format!("root-{name}-none"), life as u8, 0, &[encoded(Operation::Number, root, place, &[0])]);
            add(&format!("root-{name}-all"), life as u8, 0, &[encoded(Operation::Number, root, place, &[VALUES.len() as u8 - 1])]);
        }
    }
    // The young one's last record, which no checkpoint covers, with rows of the last ids there are.
    let creation = &whole()[0].0.header.creation;
    let (dim, bits) = (creation.dim as usize, creation.bits);
    let taught = rows(&some(3, dim), dim, bits);
    let last = encode_rows(Link { generation: 0, chain: 0 }, &draft(&batch(OWN, 78, "teach"), u64::MAX - 3, &taught), dim, bits);
    let payload = FRAME_LEN_BYTES + 16;
    add("record-last-ids", 0, 0, &replaced(first(0, Role::Record).0 + 2, payload, &last.expect("short enough")[payload..]));
    for name in ["dim", "bits", "chunks", "units", "max_classes"] {
        add(&format!("header-{name}"), 0, 0, &[encoded(Operation::Number, 0, numbers_called(0, 0, name)[0], &[VALUES.len() as u8 + 1])]);
    }
    add("record-twice", 0, 0, &[encoded(Operation::Become, first(0, Role::Record).0 + 1, 0, &[first(0, Role::Record).0 as u8])]);
    add("raw", 1, 0, &[encoded(Operation::RawChunks, 0, 100, &[1; 20]), encoded(Operation::RawState, 0, 9000, &[2; 20])]);
    seeds
}
