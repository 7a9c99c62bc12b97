//! The noise engine for Python.

use std::num::NonZeroUsize;

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsmooth_core::noise::{Element, Noise};
use rsmooth_core::stream::{Key, LAYOUT_VERSION, level};
use rsmooth_core::{Mechanism, threads};

use crate::draws::{Draws, First};
use crate::error::CoreError;
use crate::registry::mechanism;

/// Bytes of output that no cache is trusted to hold until they are read.
const LARGE: usize = 1 << 26;

/// What a call of [`fill`] draws, apart from the arrays.
struct Request<'py> {
    mechanism: Mechanism,
    key: Key,
    draws: Draws<'py>,
    fresh: bool,
}

impl Request<'_> {
    fn fill<T: Element>(&self, py: Python<'_>, inputs: Option<&[T]>, out: &mut [T]) -> PyResult<()> {
        let Draws { dim, copies, .. } = self.draws;
        let noise = Noise::new::<T>(self.mechanism, self.key, dim).map_err(CoreError::from)?;
        let noise = if size_of_val(out) >= LARGE && !self.fresh { noise.past_caches() } else { noise };
        self.draws.fill(py, out, |part, out| {
            let inputs = inputs.map(|values| part.of(values, dim, copies)).transpose()?;
            noise.fill(part.first, part.start, inputs, out, part.threads);
            Ok(())
        })
    }

    /// For arrays whose element type NumPy knows.
    fn fill_arrays<T: Element + numpy::Element>(
        &self,
        py: Python<'_>,
        inputs: Option<&Bound<'_, PyAny>>,
        out: &Bound<'_, PyArray1<T>>,
    ) -> PyResult<()> {
        let inputs = inputs.map(|inputs| inputs.extract::<PyReadonlyArray1<'_, T>>()).transpose()?;
        let inputs = inputs.as_ref().map(|inputs| inputs.as_slice()).transpose()?;
        let mut out: PyReadwriteArray1<'_, T> = out.try_readwrite()?;
        self.fill(py, inputs, out.as_slice_mut()?)
    }
}

/// Writes noise, or inputs plus noise, into `out`.
///
/// `out` and `inputs` are flat contiguous arrays of one type; bfloat16 travels as uint16. Row i of `out`,
/// `out[i * dim : (i + 1) * dim]`, belongs to input i / `copies` and holds draw number `first` + i, or, where `first` is an
/// array with a number for each input, number `first[i / copies]` + i mod `copies`. `fresh` says that `out` has not been
/// written before.
#[pyfunction]
#[pyo3(signature = (name, parameter, key, first, dim, out, *, inputs=None, copies=1, fresh=false, threads=None))]
fn fill(
    py: Python<'_>,
    name: &str,
    parameter: f64,
    key: [u32; 8],
    first: First<'_>,
    dim: usize,
    out: &Bound<'_, PyAny>,
    inputs: Option<&Bound<'_, PyAny>>,
    copies: usize,
    fresh: bool,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let mechanism = mechanism(name, parameter)?;
    let request = Request { mechanism, key: Key(key), draws: Draws { first, dim, copies, threads }, fresh };
    if let Ok(out) = out.cast::<PyArray1<f32>>() {
        request.fill_arrays(py, inputs, out)
    } else if let Ok(out) = out.cast::<PyArray1<f64>>() {
        request.fill_arrays(py, inputs, out)
    } else if let Ok(out) = out.cast::<PyArray1<f16>>() {
        request.fill_arrays(py, inputs, out)
    } else if let Ok(out) = out.cast::<PyArray1<u16>>() {
        let inputs = inputs.map(|inputs| inputs.extract::<PyReadonlyArray1<'_, u16>>()).transpose()?;
        let inputs = inputs.as_ref().map(|inputs| inputs.as_slice()).transpose()?;
        let mut out = out.try_readwrite()?;
        let out: &mut [bf16] = out.as_slice_mut()?.reinterpret_cast_mut();
        request.fill(py, inputs.map(|bits| bits.reinterpret_cast()), out)
    } else {
        Err(PyTypeError::new_err("out must be a flat array of float32, float64, float16 or uint16"))
    }
}

/// What the compiled half was built as and runs on.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("noise_layout", LAYOUT_VERSION)?;
    info.set_item("simd", level::Level::in_use().map_err(CoreError::from)?.name())?;
    info.set_item("simd_supported", level::supported().map(level::Level::name).collect::<Vec<_>>())?;
    info.set_item("threads", threads::available())?;
    Ok(info)
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(fill, m)?)?;
    m.add_function(wrap_pyfunction!(build_info, m)?)
}
