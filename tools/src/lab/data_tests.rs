//! Reading npz files: what is right, and what each wrong one is told.

use std::fs::File;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use super::*;

/// What to spoil in an otherwise good file of 4 rows, 2 classes and 2 dimensions.
#[derive(Default)]
struct Spoil {
    leave_out: &'static str,
    x: Option<Vec<f32>>,
    x_shape: Option<Vec<u64>>,
    x_as_integers: bool,
    y: Option<Vec<i8>>,
    y_as_floats: bool,
    groups: Option<[&'static str; 4]>,
    names: Option<[&'static str; 2]>,
    integer_groups: bool,
}

fn write(path: &Path, spoil: &Spoil) {
    let mut zip = NpzWriter::create(path).unwrap();
    let mut put = |name: &str, kind: &str, shape: &[u64], numbers: &[f64], texts: &[&str]| {
        if name == spoil.leave_out {
            return;
        }
        macro_rules! array {
            ($t:ty, $values:expr) => {{
                let kind = DType::Plain(kind.parse().unwrap());
                let mut out = zip.array::<$t>(name, Default::default()).unwrap().dtype(kind).shape(shape).begin_nd().unwrap();
                out.extend($values).unwrap();
                out.finish().unwrap();
            }};
        }
        match kind {
            "<f4" => array!(f32, numbers.iter().map(|v| *v as f32)),
            "<f8" => array!(f64, numbers.iter().copied()),
            "|i1" => array!(i8, numbers.iter().map(|v| *v as i8)),
            "<u2" => array!(u16, numbers.iter().map(|v| *v as u16)),
            _ => array!(String, texts.iter().map(|t| t.to_string())),
        }
    };
    let x: Vec<f64> =
        spoil.x.clone().unwrap_or_else(|| vec![1.0, 2.0, 3.0, 4.0, -1.0, 1.0, 5.0, -2.0]).into_iter().map(f64::from).collect();
    let x_shape = spoil.x_shape.clone().unwrap_or_else(|| vec![4, 2]);
    put("X", if spoil.x_as_integers { "|i1" } else { "<f4" }, &x_shape, &x, &[]);
    let y: Vec<f64> = spoil.y.clone().unwrap_or_else(|| vec![1, 1, 0, 0]).into_iter().map(f64::from).collect();
    put("y", if spoil.y_as_floats { "<f8" } else { "|i1" }, &[y.len() as u64], &y, &[]);
    put("names", "<U9", &[2], &[], &spoil.names.unwrap_or(["Zaunkönig", "AC/DC hum"]));
    match spoil.integer_groups {
        true => put("group", "<u2", &[4], &[1.0, 2.0, 3.0, 4.0], &[]),
        false => put("group", "<U3", &[4], &[], &spoil.groups.unwrap_or(["g1", "g2", "g3", "g4"])),
    }
}

fn read(spoil: Spoil) -> Result<Data> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.npz");
    write(&path, &spoil);
    Data::from_npz(&path)
}

#[test]
fn a_good_file_is_read_and_its_classes_brought_into_canonical_order() {
    for integer_groups in [false, true] {
        let data = read(Spoil { integer_groups, ..Spoil::default() }).unwrap();
        assert_eq!(data.names.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["AC/DC hum", "Zaunkönig"]);
        assert_eq!((data.y.as_slice(), data.dim, data.rows()), ([0, 0, 1, 1].as_slice(), 2, 4));
        assert_eq!(data.recording, [0, 1, 2, 3]);
        let norm: f32 = data.row(1).iter().map(|v| v * v).sum();
        assert!((norm - 2.0).abs() < 1e-5, "rows are scaled to length sqrt(D)");
    }
}

#[test]
fn every_fault_of_a_file_is_named() {
    let cases = [
        (Spoil { leave_out: "group", ..Spoil::default() }, "lacks an array"),
        (Spoil { leave_out: "X", ..Spoil::default() }, "lacks an array"),
        (Spoil { x_as_integers: true, ..Spoil::default() }, "float32"),
        (Spoil { x_shape: Some(vec![8]), ..Spoil::default() }, "shape [n, D]"),
        (Spoil { x_shape: Some(vec![2, 2, 2]), ..Spoil::default() }, "shape [n, D]"),
        (Spoil { x_shape: Some(vec![2, 4]), ..Spoil::default() }, "shape [2]"),
        (Spoil { x: Some(vec![1.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), ..Spoil::default() }, "X[0, 1]"),
        (Spoil { y: Some(vec![1, 1, 0]), ..Spoil::default() }, "one label for each row"),
        (Spoil { y: Some(vec![1, 1, 0, 2]), ..Spoil::default() }, "y[3]"),
        (Spoil { y: Some(vec![1, 1, 0, -1]), ..Spoil::default() }, "y[3]"),
        (Spoil { y: Some(vec![1, 1, 1, 1]), ..Spoil::default() }, "only one class"),
        (Spoil { y: Some(vec![1, 1, 1, 0]), ..Spoil::default() }, "too few rows"),
        (Spoil { y_as_floats: true, ..Spoil::default() }, "integers"),
        (Spoil { groups: Some(["g1", "g1", "g3", "g4"]), ..Spoil::default() }, "too few rows"),
        (Spoil { names: Some(["wren", " wren"]), ..Spoil::default() }, "same name"),
        (Spoil { names: Some(["wren", ""]), ..Spoil::default() }, "needs a name"),
    ];
    for (spoil, part) in cases {
        let e = read(spoil).unwrap_err();
        assert!(e.kind() == ErrorKind::Input && e.to_string().contains(part), "{part}: {e}");
    }
}

#[test]
fn missing_and_foreign_and_truncated_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.npz");
    assert_eq!(Data::from_npz(&path).unwrap_err().kind(), ErrorKind::Missing);
    std::fs::write(&path, b"not a zip file").unwrap();
    assert!(Data::from_npz(&path).unwrap_err().to_string().contains("not an npz file"));
    File::create(&path).unwrap();
    assert_eq!(Data::from_npz(&path).unwrap_err().kind(), ErrorKind::Input);
    write(&path, &Spoil::default());
    let whole = std::fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(37) {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(Data::from_npz(&path).unwrap_err().kind(), ErrorKind::Input, "{len} bytes");
    }
}
