//! What is refused, with nothing left behind in memory or on disk.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::latent::SpaceId;
use wheatear::store::{Access, Adapter, Batch, Creation, Durability, Header};

use crate::disk::Disk;
use crate::world::{ID, ORIGIN, Row, batch, bulky, check, creation, labels, row, rows, teach};

fn single(latent: Vec<i8>, class: &str) -> Row {
    Row { latent, labels: labels(&[class], &[]), ..row(0, 3, 5) }
}

#[test]
fn a_bad_row_is_refused_and_leaves_nothing_behind() {
    let header = Header::new(creation(3, 5), ID).unwrap();
    let disk = Disk::new(&header);
    let mut adapter = disk.open(Access::Write).unwrap();
    let good = rows(0, 3, 3, 5);
    teach(&mut adapter, &batch(1, false), &good, Durability::Now).unwrap();
    let classes: Vec<String> = (0..9).map(|i| format!("class {i}")).collect();
    let many: Vec<Row> = classes.iter().map(|c| single(vec![1; 3], c)).collect();
    let foreign = |device| Batch { origin: wheatear::learn::Origin { device: [device; 16], ..ORIGIN }, ..batch(0, false) };
    let bad: [(&str, Batch, Vec<Row>, ErrorKind); 8] = [
        ("too short", batch(1, true), vec![good[0].clone(), single(vec![1; 2], "wren")], ErrorKind::Input),
        ("too long", batch(1, true), vec![good[0].clone(), single(vec![1; 4], "wren")], ErrorKind::Input),
        ("above 5 bits", batch(1, true), vec![good[0].clone(), single(vec![0, 16, 0], "wren")], ErrorKind::Input),
        ("below 5 bits", batch(1, true), vec![good[0].clone(), single(vec![0, -16, 0], "wren")], ErrorKind::Input),
        ("the lowest", batch(1, true), vec![good[0].clone(), single(vec![0, -128, 0], "wren")], ErrorKind::Input),
        ("too many classes", batch(1, true), many, ErrorKind::Limit),
        ("a record longer than a chunk", bulky(70_000), vec![good[0].clone()], ErrorKind::Limit),
        ("one origin too many", foreign(9), vec![good[0].clone()], ErrorKind::Limit),
    ];
    let (image, operations) = (disk.image(), disk.operations());
    for (what, batch, rows, kind) in bad {
        let error = teach(&mut adapter, &batch, &rows, Durability::Now).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        check(&adapter, &good);
        assert_eq!((adapter.generation(), adapter.rows_of_unfinished(1)), (1, 3), "{what}");
        assert!(disk.operations() == operations && disk.image() == image, "{what}: nothing was written");
    }
    let more = rows(3, 2, 3, 5);
    assert_eq!(teach(&mut adapter, &batch(1, true), &more, Durability::Now).unwrap().first_row, 4, "it learns on");
    check(&disk.open(Access::Read).unwrap(), &[good, more].concat());
}

#[test]
fn a_reader_cannot_teach() {
    let header = Header::new(creation(3, 5), ID).unwrap();
    let disk = Disk::new(&header);
    let mut reader = disk.open(Access::Read).unwrap();
    let taught = teach(&mut reader, &batch(0, false), &rows(0, 1, 3, 5), Durability::Now);
    assert_eq!((taught.unwrap_err().kind(), disk.operations()), (ErrorKind::Storage, 0));
}

#[test]
fn bounds_outside_their_range_are_refused_before_anything_is_made() {
    let dir = tempdir().unwrap();
    type Change = fn(&mut Creation);
    let set: [(&str, Change); 13] = [
        ("dim", |c| c.dim = 0),
        ("dim", |c| c.dim = u32::MAX),
        ("bits", |c| c.bits = 3),
        ("bits", |c| c.bits = 9),
        ("scale", |c| c.scale = vec![1.0]),
        ("scale", |c| c.scale[1] = f32::NAN),
        ("scale", |c| c.scale[1] = 0.0),
        ("replay_rows", |c| c.replay_rows = 15),
        ("replay_rows", |c| c.replay_rows = u32::MAX),
        ("max_classes", |c| c.max_classes = 0),
        ("max_origins", |c| c.max_origins = u32::MAX),
        ("max_sources", |c| c.max_sources = 0),
        ("max_sources", |c| c.max_sources = u32::MAX),
    ];
    for (what, change) in set {
        let mut creation = creation(3, 8);
        change(&mut creation);
        let error = Adapter::create(&dir.path().join("adapter"), creation, ID).err().expect(what);
        assert_eq!((error.kind(), error.place()), (ErrorKind::Config, Some(what)), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_occupied_place_is_left_as_it_is_and_an_empty_folder_is_taken() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    std::fs::create_dir(&folder).unwrap();
    drop(Adapter::create(&folder, creation(3, 8), ID).unwrap());
    let before = std::fs::read(folder.join("header")).unwrap();
    let other = Adapter::create(&folder, creation(4, 8), [1; 16]).err().unwrap();
    assert_eq!((other.kind(), std::fs::read(folder.join("header")).unwrap()), (ErrorKind::Input, before));
    let file = dir.path().join("file");
    std::fs::write(&file, "a song").unwrap();
    assert_eq!(Adapter::create(&file, creation(3, 8), ID).err().unwrap().kind(), ErrorKind::Input);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a song");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half-made is left");
}

#[test]
fn opening_nothing_says_how_to_make_an_adapter() {
    let dir = tempdir().unwrap();
    for access in [Access::Read, Access::Write] {
        let error = Adapter::open(&dir.path().join("none"), access).err().unwrap();
        assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("wheatear teach"), "{error}");
    }
}

#[test]
fn a_backbone_of_another_space_is_refused() {
    let header = Header::new(creation(3, 8), ID).unwrap();
    let adapter = Disk::new(&header).open(Access::Read).unwrap();
    adapter.check_space(SpaceId([5; 32]), "a backbone").unwrap();
    let error = adapter.check_space(SpaceId([6; 32]), "another").unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.to_string().contains("another with space 0606"), "{error}");
}

#[test]
fn a_flipped_bit_of_the_header_costs_one_of_its_two_copies_and_never_both() {
    let header = Header::new(creation(3, 8), ID).unwrap();
    let bytes = header.encode().unwrap();
    assert_eq!(Header::decode(&bytes).unwrap(), header);
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::decode(&bad).unwrap(), header, "bit {bit}");
    }
    for bit in 0..bytes.len() * 4 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad[bytes.len() / 2 + bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&bad).is_err(), "bit {bit} of both");
    }
    for len in [0, 1, 23, 24, 100, 4095] {
        assert!(Header::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn an_adapter_is_read_where_nothing_can_be_written() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(3, 8), ID).unwrap();
    let taught = rows(0, 4, 3, 8);
    teach(&mut adapter, &batch(0, false), &taught, Durability::Now).unwrap();
    drop(adapter);
    let files = ["header", "chunks", "state", "lock"].map(|f| folder.join(f));
    let allow = |mode: u32, folder_mode: u32| {
        files.iter().for_each(|f| std::fs::set_permissions(f, std::fs::Permissions::from_mode(mode)).unwrap());
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(folder_mode)).unwrap();
    };
    allow(0o444, 0o555);
    check(&Adapter::open(&folder, Access::Read).unwrap(), &taught);
    // Permissions do not bind the superuser: there the folder of the kernel below must do.
    if std::fs::metadata(&folder).unwrap().uid() != 0 {
        let error = Adapter::open(&folder, Access::Write).err().unwrap();
        assert!(error.kind() == ErrorKind::Storage && error.to_string().contains("writable"), "{error}");
    }
    allow(0o644, 0o755);
    let error = Adapter::create(std::path::Path::new("/sys/adapter"), creation(3, 8), ID).err().unwrap();
    assert!(error.kind() == ErrorKind::Storage && error.to_string().contains("another place"), "{error}");
}

#[test]
fn a_disk_without_room_refuses_a_new_adapter_and_keeps_nothing_of_it() {
    // A file system in memory refuses at once what is larger than itself; on others this would fill the disk.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let size = rustix::fs::statvfs(dir.path()).unwrap();
    let mut large = creation(8192, 8);
    large.replay_rows = 100_000_000;
    assert!(Header::new(large.clone(), ID).unwrap().chunk_file_len_bytes() > 2 * size.f_blocks * size.f_frsize);
    let error = Adapter::create(&dir.path().join("adapter"), large, ID).err().unwrap();
    assert!(error.kind() == ErrorKind::Storage && error.to_string().contains("bytes of free space"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
