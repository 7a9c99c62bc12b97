//! The exact noise on a grid for Python.

use std::num::NonZeroUsize;

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsmooth_core::noise::grid::{GRID_LAYOUT_VERSION, GridFloat, GridInput, GridNoise, Integer, MAX_GRID};
use rsmooth_core::stream::Key;

use crate::draws::{Draws, First};
use crate::error::CoreError;
use crate::registry::mechanism;

/// What a call draws, apart from the arrays.
struct Request<'py> {
    noise: GridNoise,
    draws: Draws<'py>,
}

impl<'py> Request<'py> {
    fn new((name, parameter, grid): (&str, f64, u32), key: [u32; 8], draws: Draws<'py>) -> PyResult<Self> {
        let noise = GridNoise::new(mechanism(name, parameter)?, grid, Key(key), draws.dim).map_err(CoreError::from)?;
        Ok(Self { noise, draws })
    }

    fn integers<T: Integer + numpy::Element>(&self, py: Python<'_>, out: &Bound<'_, PyArray1<T>>) -> PyResult<()> {
        let (noise, mut out) = (&self.noise, out.try_readwrite()?);
        self.draws.fill(py, out.as_slice_mut()?, |part, out| noise.fill(part.first, part.start, out, part.threads))
    }

    fn sums<T: GridFloat>(&self, py: Python<'_>, inputs: &Bound<'_, PyAny>, out: &mut [T]) -> PyResult<()> {
        if let Ok(inputs) = inputs.extract::<PyReadonlyArray1<'_, u8>>() {
            self.sums_of(py, inputs.as_slice()?, out)
        } else if let Ok(inputs) = inputs.extract::<PyReadonlyArray1<'_, i32>>() {
            self.sums_of(py, inputs.as_slice()?, out)
        } else {
            Err(PyTypeError::new_err("inputs must be a flat array of uint8 or int32"))
        }
    }

    fn sums_of<X: GridInput, T: GridFloat>(&self, py: Python<'_>, values: &[X], out: &mut [T]) -> PyResult<()> {
        let (noise, &Draws { dim, copies, .. }) = (&self.noise, &self.draws);
        self.draws.fill(py, out, |part, out| {
            noise.fill_sums(part.first, part.start, part.of(values, dim, copies)?, out, part.threads)
        })
    }
}

/// Writes the integers of the exact noise into `out`, in steps of 1/`grid`.
///
/// `law` is the mechanism's name, its scale and the grid; `out` is a flat contiguous array of int16 or int32. Draw i goes to
/// `out[i * dim : (i + 1) * dim]`.
#[pyfunction]
#[pyo3(signature = (law, key, first, dim, out, *, threads=None))]
fn grid_fill(
    py: Python<'_>,
    law: (String, f64, u32),
    key: [u32; 8],
    first: First<'_>,
    dim: usize,
    out: &Bound<'_, PyAny>,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let draws = Draws { first, dim, copies: 1, threads };
    let request = Request::new((&law.0, law.1, law.2), key, draws)?;
    if let Ok(out) = out.cast::<PyArray1<i16>>() {
        request.integers(py, out)
    } else if let Ok(out) = out.cast::<PyArray1<i32>>() {
        request.integers(py, out)
    } else {
        Err(PyTypeError::new_err("out must be a flat array of int16 or int32"))
    }
}

/// Writes (X + Z)/`grid` into `out`, X the integers of `inputs` and Z those of the exact noise.
///
/// `inputs` is a flat contiguous array of uint8 or int32, `out` one of float32, float64, float16 or, for bfloat16, uint16. Row i of
/// `out` belongs to input i / `copies` and holds draw number `first` + i, or, where `first` is an array with a number for each
/// input, number `first[i / copies]` + i mod `copies`.
#[pyfunction]
#[pyo3(signature = (law, key, first, dim, inputs, out, *, copies=1, threads=None))]
fn grid_sums(
    py: Python<'_>,
    law: (String, f64, u32),
    key: [u32; 8],
    first: First<'_>,
    dim: usize,
    inputs: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    copies: usize,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let draws = Draws { first, dim, copies, threads };
    let request = Request::new((&law.0, law.1, law.2), key, draws)?;
    if let Ok(out) = out.cast::<PyArray1<f32>>() {
        request.sums(py, inputs, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<f64>>() {
        request.sums(py, inputs, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<f16>>() {
        request.sums(py, inputs, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<u16>>() {
        let mut out = out.try_readwrite()?;
        let out: &mut [bf16] = out.as_slice_mut()?.reinterpret_cast_mut();
        request.sums(py, inputs, out)
    } else {
        Err(PyTypeError::new_err("out must be a flat array of float32, float64, float16 or uint16"))
    }
}

/// What is known of a law's exact noise: `largest`, the largest integer; `total_variation`, at least the distance of a whole draw
/// from its law; `table_bytes`, the memory of its tables.
#[pyfunction]
fn grid_law<'py>(py: Python<'py>, law: (String, f64, u32), dim: usize) -> PyResult<Bound<'py, PyDict>> {
    let draws = Draws { first: First::From(0), dim, copies: 1, threads: None };
    let request = Request::new((&law.0, law.1, law.2), [0; 8], draws)?;
    let info = PyDict::new(py);
    info.set_item("largest", request.noise.largest())?;
    info.set_item("total_variation", request.noise.total_variation())?;
    info.set_item("table_bytes", request.noise.table_bytes())?;
    Ok(info)
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("GRID_LAYOUT_VERSION", GRID_LAYOUT_VERSION)?;
    m.add("MAX_GRID", MAX_GRID)?;
    m.add_function(wrap_pyfunction!(grid_fill, m)?)?;
    m.add_function(wrap_pyfunction!(grid_sums, m)?)?;
    m.add_function(wrap_pyfunction!(grid_law, m)?)
}
