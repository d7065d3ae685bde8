//! A backbone run by ONNX Runtime on the processors of this machine.
//!
//! The file's digest is checked before it is loaded, its inputs and outputs against the manifest, and it is run once on
//! zeros, so that what is wrong shows at start and not at the first window. Input and output tensors are made once.
//! No execution provider is replaced silently: one that cannot be used is an error.

use std::path::{Path, PathBuf};

use half::f16;
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};
use sha2::{Digest, Sha256};

use super::Backbone;
use super::library::{self, one_line};
use super::manifest::{GraphInput, Manifest, Variant};
use crate::{Error, ErrorKind, Result};

/// How a session is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// Threads that one operator may use; 1 leaves the other cores to others and gives the same bits everywhere.
    pub intra_threads: usize,
    /// Execution providers in order of preference; each must be usable.
    pub providers: Vec<String>,
    /// How far ONNX Runtime may rewrite the graph.
    pub optimise: Optimise,
    /// Where ONNX Runtime is; `None` looks in the places that [`library`] lists.
    pub library: Option<PathBuf>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { intra_threads: 1, providers: vec!["cpu".into()], optimise: Optimise::All, library: None }
    }
}

/// How far ONNX Runtime may rewrite the graph before running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimise {
    /// Not at all.
    None,
    /// Only what does not change a result's bits by design (constants folded, dead nodes dropped).
    Basic,
    /// Everything, layouts included: the fastest.
    All,
}

/// A frozen graph in an ONNX Runtime session.
pub struct OrtBackbone {
    session: Session,
    input: InputTensor,
    run: RunOptions<HasSelectedOutputs>,
    kind: GraphInput,
    input_len: usize,
    dim: usize,
    name: String,
    providers: Vec<String>,
    library: PathBuf,
}

/// The input tensor, in the number type that the graph takes.
enum InputTensor {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
}

impl OrtBackbone {
    /// Loads the variant called `variant` (the reference when `None`) of a manifest that lies in `folder`.
    ///
    /// # Errors
    /// `Missing`: no such file, or no ONNX Runtime. `Mismatch`: the file is another one than the manifest names.
    /// `Input`: it is not an ONNX graph that can be loaded. `Config`: unknown variant or provider, or the manifest's
    /// input or output is not the graph's. `Backbone`: the graph fails on a window of zeros.
    pub fn load(manifest: &Manifest, folder: &Path, variant: Option<&str>, options: &SessionOptions) -> Result<OrtBackbone> {
        let variant = manifest.variant(variant)?;
        let path = folder.join(&variant.file);
        let bytes = read_checked(&path, &variant.sha256)?;
        let (environment, library) = library::environment(options.library.as_deref())?;
        let builder = Session::builder(&environment).map_err(|e| set_up(&e))?;
        let session = configure(builder, options)?.commit_from_memory(&bytes).map_err(|e| not_loadable(&path, &e))?;
        let dim = manifest.embedding.dim as usize;
        let (input, run, session) = tensors(session, variant, dim, &path)?;
        Ok(OrtBackbone {
            session,
            input,
            run,
            kind: variant.input,
            input_len: variant.input_shape.iter().map(|d| *d as usize).product(),
            dim,
            name: format!("{}, variant {}", manifest.name, variant.name),
            providers: options.providers.clone(),
            library,
        })
    }

    /// The execution providers that were registered, in order.
    pub fn providers(&self) -> &[String] {
        &self.providers
    }

    /// The ONNX Runtime library in use.
    pub fn library(&self) -> &Path {
        &self.library
    }
}

impl Backbone for OrtBackbone {
    fn input(&self) -> GraphInput {
        self.kind
    }

    fn input_len(&self) -> usize {
        self.input_len
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
        if input.len() != self.input_len || embedding.len() != self.dim {
            return Err(Error::new(ErrorKind::Backbone, "a window of the wrong size for the backbone")
                .at(&self.name)
                .expected(format!("{} values in, {} out", self.input_len, self.dim))
                .found(format!("{} in, {} out", input.len(), embedding.len())));
        }
        let outputs = match &mut self.input {
            InputTensor::F32(tensor) => {
                tensor.extract_tensor_mut().1.copy_from_slice(input);
                self.session.run_with_options(ort::inputs![&*tensor], &self.run)
            }
            InputTensor::F16(tensor) => {
                tensor.extract_tensor_mut().1.iter_mut().zip(input).for_each(|(y, x)| *y = f16::from_f32(*x));
                self.session.run_with_options(ort::inputs![&*tensor], &self.run)
            }
        };
        let outputs = outputs.map_err(|e| failed(&self.name, &e))?;
        copy_out(&outputs[0], embedding).map_err(|e| failed(&self.name, &e))
    }
}

/// Reads a graph's file whole: what was hashed is what gets loaded.
fn read_checked(path: &Path, sha256: &str) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::io("read the backbone's graph", path, e).cure("make it with `cargo xtask setup` or `wheatear export`"))?;
    let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    if found == sha256 {
        return Ok(bytes);
    }
    Err(Error::new(ErrorKind::Mismatch, "the graph is not the one its manifest names")
        .at(path.display())
        .expected(format!("sha256 {sha256}"))
        .found(format!("sha256 {found}"))
        .cure("make it again (`cargo xtask setup`), or export it anew with its manifest"))
}

fn configure(builder: SessionBuilder, options: &SessionOptions) -> Result<SessionBuilder> {
    let providers = options.providers.iter().map(|name| provider(name)).collect::<Result<Vec<_>>>()?;
    let level = match options.optimise {
        Optimise::None => GraphOptimizationLevel::Disable,
        Optimise::Basic => GraphOptimizationLevel::Level1,
        Optimise::All => GraphOptimizationLevel::All,
    };
    let configured = builder
        .with_log_level(LogLevel::Warning)
        .and_then(|b| b.with_optimization_level(level))
        .and_then(|b| b.with_intra_threads(options.intra_threads.max(1)))
        // Spinning threads would take the cores that other threads need between two windows.
        .and_then(|b| b.with_intra_op_spinning(false))
        .and_then(|b| b.with_execution_providers(providers));
    configured.map_err(|e| set_up(&e))
}

/// The provider called `name`.
fn provider(name: &str) -> Result<ep::ExecutionProviderDispatch> {
    if name.eq_ignore_ascii_case("cpu") {
        return Ok(ep::CPU::default().build().error_on_failure());
    }
    let offered = OFFERED.iter().filter(|(_, is_there)| is_there()).map(|(name, _)| *name).collect::<Vec<_>>();
    Err(Error::new(ErrorKind::Config, "an execution provider that this build cannot use")
        .at(format!("providers: {name}"))
        .expected("cpu")
        .found(format!("the loaded ONNX Runtime offers {}", offered.join(", ")))
        .cure("use cpu; the others need a build of this program with their support"))
}

/// Names of providers, and whether the loaded library was compiled with each.
const OFFERED: &[(&str, fn() -> bool)] = &[
    ("cpu", || available::<ep::CPU>()),
    ("cuda", || available::<Named<0>>()),
    ("tensorrt", || available::<Named<1>>()),
    ("openvino", || available::<Named<2>>()),
    ("xnnpack", || available::<Named<3>>()),
    ("coreml", || available::<Named<4>>()),
    ("webgpu", || available::<Named<5>>()),
    ("qnn", || available::<Named<6>>()),
    ("acl", || available::<Named<7>>()),
];

const ORT_NAMES: [&str; 8] = [
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "OpenVINOExecutionProvider",
    "XnnpackExecutionProvider",
    "CoreMLExecutionProvider",
    "WebGpuExecutionProvider",
    "QNNExecutionProvider",
    "ACLExecutionProvider",
];

fn available<E: ExecutionProvider>() -> bool {
    E::is_available().unwrap_or(false)
}

/// A provider that is only asked for by name; it is never registered.
struct Named<const I: usize>;

impl<const I: usize> ExecutionProvider for Named<I> {
    const NAME: &'static str = ORT_NAMES[I];

    fn register(&self, _: &mut SessionBuilder) -> ort::Result<()> {
        Err(ort::Error::new("asked for by name only"))
    }
}

/// Checks the graph's ends against the manifest, runs it once and makes the tensors of every later run.
fn tensors(
    mut session: Session,
    variant: &Variant,
    dim: usize,
    path: &Path,
) -> Result<(InputTensor, RunOptions<HasSelectedOutputs>, Session)> {
    let wrong = |what: &str, expected: String, found: String| {
        Error::new(ErrorKind::Config, what.to_string())
            .at(format!("{}, variant {}", path.display(), variant.name))
            .expected(expected)
            .found(found)
            .cure("correct the manifest, or export the graph again")
    };
    let names = |ends: &[Outlet]| ends.iter().map(|o| o.name().to_string()).collect::<Vec<_>>().join(", ");
    let [input] = session.inputs() else {
        return Err(wrong("a backbone has one input", variant.input_name.clone(), names(session.inputs())));
    };
    if input.name() != variant.input_name {
        return Err(wrong("the graph has no input of that name", variant.input_name.clone(), input.name().to_string()));
    }
    let (ty, shape) = tensor_type(input).ok_or_else(|| wrong("the graph's input is no tensor", "f32 or f16".into(), kind(input)))?;
    let fits = shape.len() == variant.input_shape.len()
        && shape.iter().zip(&variant.input_shape).all(|(graph, given)| *graph < 0 || *graph == i64::from(*given));
    if !fits {
        return Err(wrong("the graph's input has another shape", format!("{:?}", variant.input_shape), format!("{shape:?}")));
    }
    let given: Vec<usize> = variant.input_shape.iter().map(|d| *d as usize).collect();
    let len = given.iter().product();
    let failed_at = |e: &ort::Error| failed(&format!("{}, variant {}", path.display(), variant.name), e);
    let input = match ty {
        TensorElementType::Float32 => InputTensor::F32(Tensor::from_array((given, vec![0f32; len])).map_err(|e| failed_at(&e))?),
        TensorElementType::Float16 => InputTensor::F16(Tensor::from_array((given, vec![f16::ZERO; len])).map_err(|e| failed_at(&e))?),
        other => return Err(wrong("the graph's input has an element type that is not supported", "f32 or f16".into(), format!("{other}"))),
    };
    let Some(output) = session.outputs().iter().find(|o| o.name() == variant.output_name) else {
        return Err(wrong("the graph has no output of that name", variant.output_name.clone(), names(session.outputs())));
    };
    if !matches!(tensor_type(output), Some((TensorElementType::Float32 | TensorElementType::Float16, _))) {
        return Err(wrong("the embedding has an element type that is not supported", "f32 or f16".into(), kind(output)));
    }
    let first =
        RunOptions::new().map(|r| r.with_outputs(OutputSelector::no_default().with(&variant.output_name))).map_err(|e| failed_at(&e))?;
    let (ty, shape) = {
        let outputs = match &input {
            InputTensor::F32(t) => session.run_with_options(ort::inputs![t], &first),
            InputTensor::F16(t) => session.run_with_options(ort::inputs![t], &first),
        };
        match outputs.map_err(|e| failed_at(&e))?[0].dtype() {
            ValueType::Tensor { ty, shape, .. } => (*ty, shape.to_vec()),
            _ => return Err(wrong("the embedding is no tensor", "f32 or f16".into(), variant.output_name.clone())),
        }
    };
    if shape.iter().product::<i64>() != dim as i64 {
        return Err(wrong("the embedding has another size", format!("{dim} values"), format!("shape {shape:?}")));
    }
    let selector = OutputSelector::no_default().with(&variant.output_name);
    let selector = match ty {
        TensorElementType::Float16 => {
            selector.preallocate(&variant.output_name, Tensor::from_array((shape, vec![f16::ZERO; dim])).map_err(|e| failed_at(&e))?)
        }
        _ => selector.preallocate(&variant.output_name, Tensor::from_array((shape, vec![0f32; dim])).map_err(|e| failed_at(&e))?),
    };
    let run = RunOptions::new().map(|r| r.with_outputs(selector)).map_err(|e| failed_at(&e))?;
    Ok((input, run, session))
}

fn tensor_type(end: &Outlet) -> Option<(TensorElementType, Vec<i64>)> {
    match end.dtype() {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, shape.to_vec())),
        _ => None,
    }
}

fn kind(end: &Outlet) -> String {
    end.dtype().to_string()
}

fn copy_out(value: &DynValue, embedding: &mut [f32]) -> ort::Result<()> {
    if let Ok((_, x)) = value.try_extract_tensor::<f32>() {
        embedding.copy_from_slice(x);
        return Ok(());
    }
    let (_, x) = value.try_extract_tensor::<f16>()?;
    embedding.iter_mut().zip(x).for_each(|(y, x)| *y = x.to_f32());
    Ok(())
}

fn failed(name: &str, e: &ort::Error) -> Error {
    Error::new(ErrorKind::Backbone, "the backbone failed on a window")
        .at(name)
        .found(one_line(&e.to_string()))
        .cure("check the graph with another window; nothing was learned from this one")
}

fn not_loadable(path: &Path, e: &ort::Error) -> Error {
    Error::new(ErrorKind::Input, "not an ONNX graph that can be loaded")
        .at(path.display())
        .found(one_line(&e.to_string()))
        .cure("give an ONNX file; if it is one, its operators may be newer than this ONNX Runtime")
}

fn set_up<R>(e: &ort::Error<R>) -> Error {
    Error::new(ErrorKind::Backbone, "the session cannot be set up")
        .found(one_line(&e.to_string()))
        .cure("check the options (threads, providers) and the ONNX Runtime in use")
}
