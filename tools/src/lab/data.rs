//! Labelled embeddings to evaluate on, from an `.npz` file: `X` f32 \[n, D\], `y` integer \[n\], `names` \[C\] text,
//! `group` \[n\] text or integers (rows of one group never stand on both sides of a split).

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use npyz::npz::NpzArchive;
use npyz::{DType, NpyFile, Order, TypeChar};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use wheatear::backbone::manifest::EmbeddingScale;
use wheatear::latent::scale_embedding;
use wheatear::learn::ClassName;
use wheatear::{Error, ErrorKind, Result};

/// Rows to evaluate on.
#[derive(Debug, Clone)]
pub struct Data {
    /// What to call the set.
    pub name: String,
    /// Number of components D.
    pub dim: usize,
    /// Embeddings scaled to length sqrt(D), row-major \[n, D\].
    pub x: Vec<f32>,
    /// Class that each row is taught as, an index into `names` \[n\].
    pub y: Vec<usize>,
    /// Class that each row is \[n\].
    pub truth: Vec<usize>,
    /// Classes in canonical order \[C\]; each has rows.
    pub names: Vec<ClassName>,
    /// Recording of each row \[n\].
    pub group: Vec<String>,
    /// The same as numbers, in the order of their names \[n\].
    pub recording: Vec<usize>,
    /// Value of one 8-bit latent step a dimension \[D\], when the backbone's manifest fixes it.
    pub scale: Option<Vec<f32>>,
}

impl Data {
    /// Checks raw rows, scales them and brings the classes into canonical order: `x` \[n, D\], `y` \[n\] into `names`.
    ///
    /// # Errors
    /// `Input` when lengths do not fit, a value is not a number, a label has no name, two names are the same class, or a
    /// class has rows of fewer than two groups (it could not be both learned and tested).
    pub fn new(
        name: &str,
        dim: usize,
        mut x: Vec<f32>,
        y: &[i128],
        names: &[String],
        group: Vec<String>,
        scale: EmbeddingScale,
    ) -> Result<Data> {
        let n = y.len();
        let bad = |what: &str, at: String| Error::new(ErrorKind::Input, what).at(at);
        if dim == 0 || n == 0 || x.len() != n * dim || group.len() != n {
            return Err(bad("the arrays do not fit together", name.to_owned())
                .expected("X [n, D], y [n] and group [n] with n and D above 0")
                .found(format!("{} values of X in rows of {dim}, {n} labels, {} groups", x.len(), group.len())));
        }
        for (row, values) in x.chunks_exact_mut(dim).enumerate() {
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                return Err(bad("an embedding holds a value that is not a number", format!("{name}: X[{row}, {i}]")).found(values[i]));
            }
            scale_embedding(scale, values)?;
        }
        let classes = names.iter().map(|t| ClassName::new(t)).collect::<Result<Vec<_>>>()?;
        let mut labels = Vec::with_capacity(n);
        for (row, label) in y.iter().enumerate() {
            let class = usize::try_from(*label).ok().and_then(|k| classes.get(k)).ok_or_else(|| {
                bad("a label has no name", format!("{name}: y[{row}]"))
                    .expected(format!("0 to {}", classes.len().saturating_sub(1)))
                    .found(label)
            })?;
            labels.push(class.clone());
        }
        let mut sorted = labels.clone();
        sorted.sort();
        sorted.dedup();
        let mut all = classes.clone();
        all.sort();
        if let Some(pair) = all.windows(2).find(|p| p[0] == p[1]) {
            return Err(bad("two classes have the same name", format!("{name}: {:?}", pair[0])));
        }
        if sorted.len() < 2 {
            return Err(bad("there is only one class to tell apart", name.to_owned()).expected("rows of at least 2 classes"));
        }
        for class in &sorted {
            let mut groups: Vec<&str> = labels.iter().zip(&group).filter(|(l, _)| *l == class).map(|(_, g)| g.as_str()).collect();
            groups.sort_unstable();
            groups.dedup();
            if groups.len() < 2 {
                return Err(bad("too few rows of a class to evaluate it", format!("{name}: class {class:?}"))
                    .expected("rows of at least 2 groups (recordings)")
                    .found(groups.len())
                    .cure("add recordings of this class, or leave it out"));
            }
        }
        let y: Vec<usize> = labels.iter().map(|l| sorted.binary_search(l).unwrap_or(0)).collect();
        let mut groups: Vec<&String> = group.iter().collect();
        groups.sort();
        groups.dedup();
        let recording = group.iter().map(|g| groups.binary_search(&g).unwrap_or(0)).collect();
        Ok(Data { name: name.to_owned(), dim, x, truth: y.clone(), y, names: sorted, group, recording, scale: None })
    }

    /// Reads an `.npz` file.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it cannot be opened; `Input` when it is no npz file, an array is missing or has the
    /// wrong type or shape, and as [`Data::new`].
    pub fn from_npz(path: &Path) -> Result<Data> {
        let at = path.display().to_string();
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let mut zip = NpzArchive::new(BufReader::new(file)).map_err(|e| {
            Error::new(ErrorKind::Input, "not an npz file")
                .at(&at)
                .found(e.to_string())
                .cure("write one with numpy.savez(FILE, X=, y=, names=, group=)")
        })?;
        let (shape, x) = floats(&mut zip, &at, "X")?;
        let [rows, dim] = shape[..] else {
            return Err(wrong(&at, "X", "shape [n, D]", format!("{shape:?}")));
        };
        let (y_shape, y) = integers(&mut zip, &at, "y")?;
        if y_shape != [rows] {
            return Err(wrong(&at, "y", format!("shape [{rows}], one label for each row of X"), format!("{y_shape:?}")));
        }
        let (_, names) = texts(&mut zip, &at, "names")?;
        let (group_shape, group) = texts(&mut zip, &at, "group")?;
        if group_shape != [rows] {
            return Err(wrong(&at, "group", format!("shape [{rows}], one group for each row of X"), format!("{group_shape:?}")));
        }
        let name = path.file_stem().map_or_else(|| at.clone(), |s| s.to_string_lossy().into_owned());
        Data::new(&name, dim as usize, x, &y, &names, group, EmbeddingScale::SqrtDim)
    }

    /// Number of rows n.
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// One embedding \[D\].
    pub fn row(&self, i: usize) -> &[f32] {
        &self.x[i * self.dim..(i + 1) * self.dim]
    }

    /// Gives a share of the recordings, chosen at random, another class than theirs, each of the others as probably: what is taught
    /// changes, what is true does not.
    pub fn mislabel(&mut self, share: f64, rng: &mut ChaCha8Rng) {
        let recordings = self.recording.iter().max().map_or(0, |m| m + 1);
        let others = self.names.len() as u64 - 1;
        for recording in 0..recordings {
            let draw = rng.next_u64() as f64 / u64::MAX as f64;
            // The modulo's bias is below 2^-40 here.
            let shift = 1 + (rng.next_u64() % others) as usize;
            if draw < share {
                for i in (0..self.y.len()).filter(|i| self.recording[*i] == recording) {
                    self.y[i] = (self.truth[i] + shift) % self.names.len();
                }
            }
        }
    }
}

fn wrong(at: &str, array: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Input, "an array of the npz file cannot be used").at(format!("{at}: {array}")).expected(expected).found(found)
}

fn array<'a, R: Read + Seek>(zip: &'a mut NpzArchive<R>, at: &str, name: &str) -> Result<NpyFile<impl Read + 'a>> {
    let found: Vec<String> = zip.array_names().map(str::to_owned).collect();
    match zip.by_name(name) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(Error::new(ErrorKind::Input, "the npz file lacks an array").at(at).expected(name).found(found.join(", "))),
        Err(e) => Err(wrong(at, name, "an npy array", e.to_string())),
    }
}

/// Shape, type character and size of an element; arrays in Fortran order are refused where it matters.
fn describe<R: Read>(file: &NpyFile<R>, at: &str, name: &str) -> Result<(Vec<u64>, TypeChar, u64)> {
    let DType::Plain(kind) = file.dtype() else {
        return Err(wrong(at, name, "a plain array", file.dtype().descr()));
    };
    if file.shape().len() > 1 && file.order() == Order::Fortran {
        return Err(wrong(at, name, "row-major (C) order", "column-major (Fortran) order").cure("save numpy.ascontiguousarray(X)"));
    }
    Ok((file.shape().to_vec(), kind.type_char(), kind.size_field()))
}

/// Reads the elements one by one, so that a header that lies about its size takes no memory, and on to the end of the
/// array, where its checksum is compared.
fn elements<T: npyz::Deserialize, R: Read>(file: NpyFile<R>, at: &str, name: &str) -> Result<Vec<T>> {
    let mut out = Vec::new();
    let header = file.header().clone();
    let mut bytes = file.into_inner();
    let data = NpyFile::with_header(header, &mut bytes).data::<T>().map_err(|e| wrong(at, name, "another element type", e.to_string()))?;
    for value in data {
        out.push(value.map_err(|e| wrong(at, name, "all elements its header promises", e.to_string()))?);
    }
    match bytes.read(&mut [0]) {
        Ok(0) => Ok(out),
        Ok(_) => Err(wrong(at, name, format!("{} elements, as its header says", out.len()), "more bytes behind them")),
        Err(e) => Err(wrong(at, name, "undamaged bytes", e.to_string()).cure("write or copy the file again")),
    }
}

fn floats<R: Read + Seek>(zip: &mut NpzArchive<R>, at: &str, name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
    let file = array(zip, at, name)?;
    let (shape, kind, size) = describe(&file, at, name)?;
    let values = match (kind, size) {
        (TypeChar::Float, 4) => elements::<f32, _>(file, at, name)?,
        (TypeChar::Float, 8) => elements::<f64, _>(file, at, name)?.into_iter().map(|v| v as f32).collect(),
        _ => return Err(wrong(at, name, "float32 or float64", file.dtype().descr())),
    };
    Ok((shape, values))
}

fn integers<R: Read + Seek>(zip: &mut NpzArchive<R>, at: &str, name: &str) -> Result<(Vec<u64>, Vec<i128>)> {
    let file = array(zip, at, name)?;
    let (shape, kind, size) = describe(&file, at, name)?;
    fn widen<T: Into<i128>>(values: Vec<T>) -> Vec<i128> {
        values.into_iter().map(Into::into).collect()
    }
    let values = match (kind, size) {
        (TypeChar::Int, 1) => widen(elements::<i8, _>(file, at, name)?),
        (TypeChar::Int, 2) => widen(elements::<i16, _>(file, at, name)?),
        (TypeChar::Int, 4) => widen(elements::<i32, _>(file, at, name)?),
        (TypeChar::Int, 8) => widen(elements::<i64, _>(file, at, name)?),
        (TypeChar::Uint, 1) => widen(elements::<u8, _>(file, at, name)?),
        (TypeChar::Uint, 2) => widen(elements::<u16, _>(file, at, name)?),
        (TypeChar::Uint, 4) => widen(elements::<u32, _>(file, at, name)?),
        (TypeChar::Uint, 8) => widen(elements::<u64, _>(file, at, name)?),
        _ => return Err(wrong(at, name, "integers", file.dtype().descr())),
    };
    Ok((shape, values))
}

fn texts<R: Read + Seek>(zip: &mut NpzArchive<R>, at: &str, name: &str) -> Result<(Vec<u64>, Vec<String>)> {
    let file = array(zip, at, name)?;
    let (shape, kind, _) = describe(&file, at, name)?;
    if kind == TypeChar::UnicodeStr {
        return Ok((shape, elements::<String, _>(file, at, name)?));
    }
    if matches!(kind, TypeChar::Int | TypeChar::Uint) {
        drop(file);
        let (shape, values) = integers(zip, at, name)?;
        return Ok((shape, values.iter().map(i128::to_string).collect()));
    }
    let cure = "save text as numpy's 'U' type: numpy.array(LIST, dtype=str)";
    Err(wrong(at, name, "text ('U') or integers", file.dtype().descr()).cure(cure))
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
