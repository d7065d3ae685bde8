//! Tensors of a safetensors file, written one at a time and read with the shape that is expected.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use wheatear::{Error, ErrorKind, Result};

/// A tensor to be written; its bytes are made when its turn comes.
pub struct Tensor<'a> {
    kind: Dtype,
    shape: Vec<usize>,
    bytes: Box<dyn Fn() -> Cow<'a, [u8]> + 'a>,
}

/// Types of components.
pub trait Component: Copy + 'static {
    const DTYPE: Dtype;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! component {
    ($($type:ty, $dtype:ident);*) => {$(
        impl Component for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> $type {
                <$type>::from_le_bytes(bytes.try_into().unwrap_or_default())
            }
        }
    )*};
}
component!(i8, I8; u8, U8; u32, U32; i64, I64; u64, U64);

impl<'a> Tensor<'a> {
    /// A tensor of `shape` with the components of `values`, row-major.
    pub fn new<T: Component>(shape: &[usize], values: &'a [T]) -> Tensor<'a> {
        Tensor::made(
            shape,
            move || {
                let mut bytes = Vec::with_capacity(size_of_val(values));
                values.iter().for_each(|v| v.put(&mut bytes));
                bytes
            },
            T::DTYPE,
        )
    }

    /// A tensor of `shape` with one row of components for each of `rows`.
    pub fn rows<T: Component>(shape: &[usize], rows: impl Iterator<Item = &'a [T]> + Clone + 'a) -> Tensor<'a> {
        Tensor::made(
            shape,
            move || {
                let mut bytes = Vec::new();
                rows.clone().flatten().for_each(|v| v.put(&mut bytes));
                bytes
            },
            T::DTYPE,
        )
    }

    fn made(shape: &[usize], bytes: impl Fn() -> Vec<u8> + 'a, kind: Dtype) -> Tensor<'a> {
        Tensor { kind, shape: shape.to_vec(), bytes: Box::new(move || Cow::Owned(bytes())) }
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.kind
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (self.bytes)()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.bitsize() / 8
    }
}

/// Writes `tensors` to the file `path`.
///
/// # Errors
/// `Storage` when it cannot be written.
pub fn write(path: &Path, tensors: Vec<(String, Tensor<'_>)>) -> Result<()> {
    safetensors::serialize_to_file(tensors, None, path).map_err(|e| match e {
        SafeTensorError::IoError(e) => Error::io("write", path, e),
        e => Error::new(ErrorKind::Limit, "the tensors cannot be written").at(path.display()).because(e),
    })
}

/// The tensors of a file, of which each is asked for once.
pub struct Tensors<'a> {
    all: SafeTensors<'a>,
    file: &'static str,
    taken: usize,
}

impl<'a> Tensors<'a> {
    /// The tensors in `bytes`, which are those of `file`.
    ///
    /// # Errors
    /// `Input` when it is no whole safetensors file.
    pub fn new(bytes: &'a [u8], file: &'static str) -> Result<Tensors<'a>> {
        let all = SafeTensors::deserialize(bytes);
        let all = all.map_err(|e| Error::new(ErrorKind::Input, "no whole safetensors file").at(file).found(&e).because(e))?;
        Ok(Tensors { all, file, taken: 0 })
    }

    /// The components of the tensor `name`, which must have this shape.
    ///
    /// # Errors
    /// `Input` when there is none, or it has another type or shape.
    pub fn take<T: Component>(&mut self, name: &str, shape: &[usize]) -> Result<Vec<T>> {
        let at = format!("{}: {name}", self.file);
        let expected = || format!("{:?} {shape:?}", T::DTYPE);
        let missing = || Error::new(ErrorKind::Input, "a tensor is missing").at(&at).expected(expected());
        let view = self.all.tensor(name).map_err(|_| missing())?;
        if (view.dtype(), view.shape()) != (T::DTYPE, shape) {
            return Err(Error::new(ErrorKind::Input, "a tensor has another type or shape").at(at).expected(expected()).found(format!(
                "{:?} {:?}",
                view.dtype(),
                view.shape()
            )));
        }
        self.taken += 1;
        Ok(view.data().chunks_exact(size_of::<T>()).map(T::get).collect())
    }

    /// The first length of the tensor `name`.
    ///
    /// # Errors
    /// `Input` when there is none.
    pub fn len_of(&self, name: &str) -> Result<usize> {
        let view = self.all.tensor(name).ok().and_then(|t| t.shape().first().copied());
        view.ok_or_else(|| Error::new(ErrorKind::Input, "a tensor is missing").at(format!("{}: {name}", self.file)))
    }

    /// All have been asked for.
    ///
    /// # Errors
    /// `Input` when there are others.
    pub fn end(self) -> Result<()> {
        match self.all.len() == self.taken {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Input, "there are other tensors than belong here")
                .at(self.file)
                .expected(self.taken)
                .found(self.all.len())),
        }
    }
}
