//! Running any ONNX graph once: for tools that look into graphs before they are backbones.
//!
//! Values go in and come out as f32, whatever number type the graph uses for them, with their shapes. Nothing here is
//! fast, and no backbone on a device runs through it.

use half::f16;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use super::library::{self, one_line};
use crate::{Error, ErrorKind, Result};

/// A graph loaded for looking into.
pub struct Probe {
    session: Session,
}

/// An input or output of a graph, as ONNX Runtime infers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueDescription {
    /// Name.
    pub name: String,
    /// Element type by the code of ONNX's `TensorProto.DataType` (1 is f32), `None` for what is no tensor.
    pub element: Option<i32>,
    /// Dimensions, -1 where free.
    pub shape: Vec<i64>,
}

/// Values of a tensor with its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Name of the input or output.
    pub name: String,
    /// Dimensions; their product is the number of values.
    pub shape: Vec<i64>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

impl Probe {
    /// Loads a graph from the bytes of its file, rewritten for speed as for a backbone if `optimise`, else as it stands.
    ///
    /// # Errors
    /// `Missing` when there is no ONNX Runtime; `Input` when it cannot load the graph, with its reason.
    pub fn new(model: &[u8], optimise: bool) -> Result<Probe> {
        let (environment, _) = library::environment(None)?;
        let level = if optimise { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
        let session = Session::builder(&environment)
            .and_then(|b| b.with_optimization_level(level).map_err(Into::into))
            .and_then(|b| b.with_intra_threads(1).map_err(Into::into))
            .and_then(|mut b| b.commit_from_memory(model))
            .map_err(|e| {
                Error::new(ErrorKind::Input, "ONNX Runtime cannot load the model")
                    .found(one_line(&e.to_string()))
                    .cure("check the file with onnx.checker; its operators may be newer than this ONNX Runtime, or custom ones")
            })?;
        Ok(Probe { session })
    }

    /// The graph's inputs.
    pub fn inputs(&self) -> Vec<ValueDescription> {
        self.session.inputs().iter().map(describe).collect()
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> Vec<ValueDescription> {
        self.session.outputs().iter().map(describe).collect()
    }

    /// Runs the graph and returns all outputs that are tensors of numbers.
    ///
    /// # Errors
    /// `Input` when an input is missing, misshapen or of a type that cannot be given; `Backbone` when the graph fails.
    pub fn run(&mut self, inputs: &[Array]) -> Result<Vec<Array>> {
        let wanted = self.inputs();
        let mut values = Vec::new();
        for input in inputs {
            let element = wanted.iter().find(|w| w.name == input.name).and_then(|w| w.element);
            let tensor = tensor_of(input, element).map_err(|e| {
                Error::new(ErrorKind::Input, "a value cannot be given to the model").at(format!("input '{}'", input.name)).found(e)
            })?;
            values.push((input.name.clone(), tensor));
        }
        // An output that is an input passed through shares its memory: the inputs must outlive the outputs.
        let given: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let outputs = self.session.run(given).map_err(|e| {
            Error::new(ErrorKind::Backbone, "the model fails when it is run")
                .found(one_line(&e.to_string()))
                .cure("check the input's shape (--input-shape, --dim) against what the model was made for")
        })?;
        let arrays = outputs.iter().filter_map(|(name, value)| array_of(name, &value)).collect();
        drop(outputs);
        drop(values);
        Ok(arrays)
    }
}

fn describe(outlet: &Outlet) -> ValueDescription {
    let name = outlet.name().to_string();
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => ValueDescription { name, element: Some(onnx_code(*ty)), shape: shape.to_vec() },
        _ => ValueDescription { name, element: None, shape: Vec::new() },
    }
}

/// The number that ONNX files use for an element type; 0 for those no backbone meets.
fn onnx_code(ty: TensorElementType) -> i32 {
    match ty {
        TensorElementType::Float32 => 1,
        TensorElementType::Uint8 => 2,
        TensorElementType::Int8 => 3,
        TensorElementType::Uint16 => 4,
        TensorElementType::Int16 => 5,
        TensorElementType::Int32 => 6,
        TensorElementType::Int64 => 7,
        TensorElementType::String => 8,
        TensorElementType::Bool => 9,
        TensorElementType::Float16 => 10,
        TensorElementType::Float64 => 11,
        TensorElementType::Uint32 => 12,
        TensorElementType::Uint64 => 13,
        TensorElementType::Bfloat16 => 16,
        _ => 0,
    }
}

fn tensor_of(input: &Array, element: Option<i32>) -> Result<DynValue, String> {
    let shape: Vec<usize> =
        input.shape.iter().map(|d| usize::try_from(*d).map_err(|_| "a negative dimension".to_string())).collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if count != Some(input.values.len()) {
        return Err(format!("{} values for the shape {:?}", input.values.len(), input.shape));
    }
    let v = &input.values;
    let tensor = match element {
        Some(1) => Tensor::from_array((shape, v.clone())).map(|t| t.into_dyn()),
        Some(10) => Tensor::from_array((shape, v.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(11) => Tensor::from_array((shape, v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(7) => Tensor::from_array((shape, v.iter().map(|x| *x as i64).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(6) => Tensor::from_array((shape, v.iter().map(|x| *x as i32).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(5) => Tensor::from_array((shape, v.iter().map(|x| *x as i16).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(9) => Tensor::from_array((shape, v.iter().map(|x| *x != 0.0).collect::<Vec<_>>())).map(|t| t.into_dyn()),
        Some(code) => return Err(format!("element type {code} cannot be given")),
        None => return Err("the model has no tensor input of that name".into()),
    };
    tensor.map_err(|e| one_line(&e.to_string()))
}

fn array_of(name: &str, value: &DynValue) -> Option<Array> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else { return None };
    fn values<T: ort::value::PrimitiveTensorElementType>(value: &DynValue, f: impl Fn(&T) -> f32) -> Option<Vec<f32>> {
        Some(value.try_extract_tensor::<T>().ok()?.1.iter().map(f).collect())
    }
    let values = match ty {
        TensorElementType::Float32 => values::<f32>(value, |x| *x),
        TensorElementType::Float16 => values::<f16>(value, |x| x.to_f32()),
        TensorElementType::Float64 => values::<f64>(value, |x| *x as f32),
        TensorElementType::Int64 => values::<i64>(value, |x| *x as f32),
        TensorElementType::Int32 => values::<i32>(value, |x| *x as f32),
        TensorElementType::Int8 => values::<i8>(value, |x| f32::from(*x)),
        TensorElementType::Uint8 => values::<u8>(value, |x| f32::from(*x)),
        TensorElementType::Bool => values::<bool>(value, |x| f32::from(u8::from(*x))),
        _ => None,
    }?;
    Some(Array { name: name.to_string(), shape: shape.to_vec(), values })
}
