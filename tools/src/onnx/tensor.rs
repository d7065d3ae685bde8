//! Tensors of a model: building them, and reading their values with their length checked first.

use half::f16;
use wheatear::{Error, ErrorKind, Result};

use super::proto::{DataLocation, DataType, TensorProto};

impl TensorProto {
    /// A tensor of f32 values.
    pub fn from_f32(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        TensorProto::from_raw(name, dims, DataType::Float, raw)
    }

    /// A tensor of i64 values.
    pub fn from_i64(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        TensorProto::from_raw(name, dims, DataType::Int64, raw)
    }

    /// A tensor of f16 values.
    pub fn from_f16(name: &str, dims: &[i64], values: &[f16]) -> TensorProto {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        TensorProto::from_raw(name, dims, DataType::Float16, raw)
    }

    fn from_raw(name: &str, dims: &[i64], kind: DataType, raw: Vec<u8>) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            dims: dims.to_vec(),
            data_type: Some(kind as i32),
            raw_data: Some(raw),
            ..TensorProto::default()
        }
    }

    /// Whether the values lie in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == Some(DataLocation::External as i32)
    }

    /// The f32 values, whichever field holds them.
    ///
    /// # Errors
    /// `Input` when it is no f32 tensor, or when the number of values is not the product of its dimensions.
    pub fn f32_values(&self) -> Result<Vec<f32>> {
        let wrong = |what: &str, expected: String, found: String| {
            Error::new(ErrorKind::Input, what).at(format!("tensor '{}'", self.name())).expected(expected).found(found)
        };
        if self.data_type != Some(DataType::Float as i32) {
            return Err(wrong("the tensor does not hold 32-bit floats", "FLOAT".into(), type_name(self.data_type.unwrap_or(0))));
        }
        let count = self.dims.iter().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
        let values = match &self.raw_data {
            Some(raw) if raw.len() % 4 == 0 => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Some(raw) => return Err(wrong("the tensor's bytes are cut short", "a multiple of 4".into(), raw.len().to_string())),
            None => self.float_data.clone(),
        };
        if count != Some(values.len()) {
            return Err(wrong(
                "the tensor's length does not fit its shape",
                format!("{:?}", self.dims),
                format!("{} values", values.len()),
            ));
        }
        Ok(values)
    }
}

/// The specification's name of an element type.
pub fn type_name(code: i32) -> String {
    match DataType::try_from(code) {
        Ok(DataType::Float) => "float32".into(),
        Ok(kind) => format!("{kind:?}").to_ascii_lowercase(),
        Err(_) => format!("type {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_raw_bytes_or_from_the_typed_field() {
        let raw = TensorProto::from_f32("w", &[2, 1], &[1.5, -2.0]);
        let typed = TensorProto { raw_data: None, float_data: vec![1.5, -2.0], ..raw.clone() };
        assert_eq!(raw.f32_values().unwrap(), typed.f32_values().unwrap());
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let good = TensorProto::from_f32("w", &[2], &[1.0, 2.0]);
        for bad in [
            TensorProto { dims: vec![3], ..good.clone() },
            TensorProto { dims: vec![-2], ..good.clone() },
            TensorProto { dims: vec![i64::MAX, i64::MAX], ..good.clone() },
            TensorProto { raw_data: Some(vec![0; 7]), ..good.clone() },
            TensorProto { data_type: Some(DataType::Int64 as i32), ..good.clone() },
            TensorProto { data_type: Some(99), ..good.clone() },
        ] {
            let e = bad.f32_values().unwrap_err();
            assert!(e.kind() == ErrorKind::Input && e.to_string().contains("'w'"), "{e}");
        }
    }
}
