//! Shapes of inputs: what a model states, which dimensions are free, and fixing them.

use std::fmt;

use wheatear::{Error, ErrorKind, Result};

use super::graph::tensor_type;
use super::proto::{Dimension, DimensionValue, ModelProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto};

/// One dimension.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Dim {
    /// A number.
    Fixed(i64),
    /// Free; the name is empty when the model gives none.
    Free(String),
}

/// A shape for people: `[batch, 1, 98, 96]`.
pub struct Shape<'a>(pub &'a [Dim]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            match dim {
                Dim::Fixed(n) => write!(f, "{n}")?,
                Dim::Free(name) if name.is_empty() => f.write_str("?")?,
                Dim::Free(name) => f.write_str(name)?,
            }
        }
        f.write_str("]")
    }
}

/// The dimensions that `value` states; `None` when not even their number is known.
pub fn dims(value: &ValueInfoProto) -> Option<Vec<Dim>> {
    let shape = tensor_type(value)?.shape.as_ref()?;
    Some(
        shape
            .dim
            .iter()
            .map(|d| match &d.value {
                Some(DimensionValue::Value(n)) if *n > 0 => Dim::Fixed(*n),
                Some(DimensionValue::Param(name)) => Dim::Free(name.clone()),
                _ => Dim::Free(String::new()),
            })
            .collect(),
    )
}

/// A value of element type `kind` and fixed shape.
pub fn value_info(name: &str, kind: i32, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|n| Dimension { value: Some(DimensionValue::Value(*n)), denotation: None }).collect();
    let tensor = TensorType { elem_type: Some(kind), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None }),
        ..ValueInfoProto::default()
    }
}

/// States that the input `name` has this shape.
pub fn fix_input(model: &mut ModelProto, name: &str, shape: &[i64]) {
    for input in model.graph.iter_mut().flat_map(|g| &mut g.input).filter(|i| i.name() == name) {
        let kind = tensor_type(input).map_or(0, |t| t.elem_type());
        input.r#type = value_info(name, kind, shape).r#type;
    }
}

/// Gives every free dimension of an input a number.
///
/// `given` is a whole shape, `named` gives single dimensions by name or by index from 0, `values` is how many values a
/// window has, if known. What is left free after those: the first of several dimensions becomes 1 (the batch), and one
/// other is computed from `values`.
///
/// # Errors
/// `Input` with the dimension that is still free and what to give, or when the numbers do not fit.
pub fn resolve(input: &ValueInfoProto, given: Option<&[i64]>, named: &[(String, i64)], values: Option<usize>) -> Result<Vec<i64>> {
    let name = input.name();
    let wrong = |what: &str| Error::new(ErrorKind::Input, what).at(format!("input '{name}'"));
    let mut shape = match (dims(input), given) {
        (None, None) => {
            return Err(wrong("the model does not state the shape of its input").cure("give it: --input-shape 1,1,98,96 (yours)"));
        }
        (None, Some(given)) => given.iter().map(|n| Dim::Fixed(*n)).collect(),
        (Some(stated), Some(given)) => {
            let fits =
                stated.len() == given.len() && stated.iter().zip(given).all(|(s, g)| matches!(s, Dim::Free(_)) || *s == Dim::Fixed(*g));
            if !fits {
                return Err(wrong("the given shape does not fit the model").expected(Shape(&stated)).found(format!("{given:?}")));
            }
            given.iter().map(|n| Dim::Fixed(*n)).collect()
        }
        (Some(stated), None) => stated,
    };
    for (i, dim) in shape.iter_mut().enumerate() {
        if let Dim::Free(free) = dim
            && let Some((_, n)) = named.iter().find(|(key, _)| (!free.is_empty() && key == free) || *key == i.to_string())
        {
            *dim = Dim::Fixed(*n);
        }
    }
    let free = |shape: &[Dim]| shape.iter().enumerate().filter(|(_, d)| matches!(d, Dim::Free(_))).map(|(i, _)| i).collect::<Vec<_>>();
    if shape.len() > 1 && free(&shape).first() == Some(&0) {
        shape[0] = Dim::Fixed(1);
    }
    if let ([one], Some(values)) = (&free(&shape)[..], values) {
        let others = product(&shape).filter(|n| *n > 0 && values % n == 0);
        if let Some(others) = others {
            shape[*one] = Dim::Fixed((values / others) as i64);
        }
    }
    if let Some(&i) = free(&shape).first() {
        let label = match &shape[i] {
            Dim::Free(name) if !name.is_empty() => name.clone(),
            _ => i.to_string(),
        };
        return Err(wrong("a dimension of the model's input is free")
            .found(Shape(&shape))
            .cure(format!("give it: --dim {label}=NUMBER, or the whole shape with --input-shape, or the window with --window-samples")));
    }
    let fixed: Vec<i64> = shape.iter().filter_map(|d| if let Dim::Fixed(n) = d { Some(*n) } else { None }).collect();
    match product(&shape) {
        Some(n) if n > 0 && n <= 1 << 28 => {}
        _ => return Err(wrong("the shape of the input is not usable").expected("a product of 1 to 268435456").found(Shape(&shape))),
    }
    if let (Some(n), Some(values)) = (product(&shape), values)
        && n != values
    {
        return Err(wrong("the model's input does not take one window")
            .expected(format!("{values} values a window, as the window and front end say"))
            .found(format!("{} = {n}", Shape(&shape)))
            .cure("change --window-samples or the front end's bands and hop, or give --input-shape"));
    }
    Ok(fixed)
}

/// Product of the fixed dimensions.
pub fn product(shape: &[Dim]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| match d {
        Dim::Fixed(d) => n.checked_mul(usize::try_from(*d).ok()?),
        Dim::Free(_) => Some(n),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::testing::input;

    #[test]
    fn the_batch_is_one_and_the_window_fills_the_last_free_dimension() {
        let x = input("x", &["batch", "1", "frames", "96"]);
        assert_eq!(resolve(&x, None, &[], Some(98 * 96)).unwrap(), [1, 1, 98, 96]);
        assert_eq!(resolve(&x, None, &[("frames".into(), 43)], None).unwrap(), [1, 1, 43, 96]);
        assert_eq!(resolve(&x, None, &[("2".into(), 43)], None).unwrap(), [1, 1, 43, 96]);
        assert_eq!(resolve(&x, Some(&[2, 1, 5, 96]), &[], None).unwrap(), [2, 1, 5, 96]);
        assert_eq!(resolve(&input("x", &["n"]), None, &[], Some(16000)).unwrap(), [16000]);
    }

    #[test]
    fn a_free_dimension_is_named_with_what_to_give() {
        let e = resolve(&input("x", &["batch", "bands", "frames"]), None, &[], Some(960)).unwrap_err();
        assert!(e.to_string().contains("[1, bands, frames]") && e.to_string().contains("--dim bands=NUMBER"), "{e}");
        let e = resolve(&input("x", &["batch", "?"]), None, &[], None).unwrap_err();
        assert!(e.to_string().contains("--dim 1=NUMBER"), "{e}");
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let x = input("x", &["batch", "96"]);
        for (given, values) in [
            (Some(&[1i64, 95][..]), None),
            (Some(&[1][..]), None),
            (Some(&[-1, 96][..]), None),
            (Some(&[1 << 40, 96][..]), None),
            (None, Some(97)),
        ] {
            assert_eq!(resolve(&x, given, &[], values).unwrap_err().kind(), ErrorKind::Input, "{given:?} {values:?}");
        }
    }
}
