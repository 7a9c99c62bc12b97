//! The exact noise on a grid for Python.

use std::num::NonZeroUsize;

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsmooth_core::noise::Inputs;
use rsmooth_core::noise::grid::{GRID_LAYOUT_VERSION, GridFloat, GridInput, GridNoise, Integer, MAX_GRID};
use rsmooth_core::stream::{GROUP, Key};

use crate::error::CoreError;
use crate::registry::mechanism;

/// Values computed between two looks at pending signals: some milliseconds of work.
const SLICE: usize = 1 << 22;

/// What a call draws, apart from the arrays.
struct Request {
    noise: GridNoise,
    first: u64,
    dim: usize,
    threads: Option<NonZeroUsize>,
}

impl Request {
    fn new(
        (name, parameter, grid): (&str, f64, u32),
        key: [u32; 8],
        first: u64,
        dim: usize,
        threads: Option<NonZeroUsize>,
    ) -> PyResult<Self> {
        let noise = GridNoise::new(mechanism(name, parameter)?, grid, Key(key), dim).map_err(CoreError::from)?;
        Ok(Self { noise, first, dim, threads })
    }

    /// Calls `fill` on slices of `out`, each with its start.
    fn in_slices<T: Send>(
        &self,
        py: Python<'_>,
        out: &mut [T],
        fill: impl Fn(usize, &mut [T]) -> rsmooth_core::Result<()> + Sync,
    ) -> PyResult<()> {
        // A draw costs a whole group, however few of its values are used.
        let slice = if self.dim < SLICE { SLICE / self.dim.max(GROUP) * self.dim } else { SLICE };
        for (number, out) in out.chunks_mut(slice).enumerate() {
            py.detach(|| fill(number * slice, out)).map_err(CoreError::from)?;
            py.check_signals()?;
        }
        Ok(())
    }

    fn integers<T: Integer + numpy::Element>(&self, py: Python<'_>, out: &Bound<'_, PyArray1<T>>) -> PyResult<()> {
        let mut out = out.try_readwrite()?;
        self.in_slices(py, out.as_slice_mut()?, |start, out| self.noise.fill(self.first, start, out, self.threads))
    }

    fn sums<T: GridFloat>(
        &self,
        py: Python<'_>,
        inputs: &Bound<'_, PyAny>,
        copies: usize,
        out: &mut [T],
    ) -> PyResult<()> {
        if let Ok(inputs) = inputs.extract::<PyReadonlyArray1<'_, u8>>() {
            self.sums_of(py, inputs.as_slice()?, copies, out)
        } else if let Ok(inputs) = inputs.extract::<PyReadonlyArray1<'_, i32>>() {
            self.sums_of(py, inputs.as_slice()?, copies, out)
        } else {
            Err(PyTypeError::new_err("inputs must be a flat array of uint8 or int32"))
        }
    }

    fn sums_of<X: GridInput, T: GridFloat>(
        &self,
        py: Python<'_>,
        values: &[X],
        copies: usize,
        out: &mut [T],
    ) -> PyResult<()> {
        let inputs = Inputs { values, copies };
        self.in_slices(py, out, |start, out| self.noise.fill_sums(self.first, start, inputs, out, self.threads))
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
    first: u64,
    dim: usize,
    out: &Bound<'_, PyAny>,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let request = Request::new((&law.0, law.1, law.2), key, first, dim, threads)?;
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
/// `inputs` is a flat contiguous array of uint8 or int32, `out` one of float32, float64, float16 or, for bfloat16, uint16. Draw i
/// is added to input i / `copies`.
#[pyfunction]
#[pyo3(signature = (law, key, first, dim, inputs, out, *, copies=1, threads=None))]
fn grid_sums(
    py: Python<'_>,
    law: (String, f64, u32),
    key: [u32; 8],
    first: u64,
    dim: usize,
    inputs: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    copies: usize,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let request = Request::new((&law.0, law.1, law.2), key, first, dim, threads)?;
    if let Ok(out) = out.cast::<PyArray1<f32>>() {
        request.sums(py, inputs, copies, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<f64>>() {
        request.sums(py, inputs, copies, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<f16>>() {
        request.sums(py, inputs, copies, out.try_readwrite()?.as_slice_mut()?)
    } else if let Ok(out) = out.cast::<PyArray1<u16>>() {
        let mut out = out.try_readwrite()?;
        let out: &mut [bf16] = out.as_slice_mut()?.reinterpret_cast_mut();
        request.sums(py, inputs, copies, out)
    } else {
        Err(PyTypeError::new_err("out must be a flat array of float32, float64, float16 or uint16"))
    }
}

/// What is known of a law's exact noise: `largest`, the largest integer; `total_variation`, at least the distance of a whole draw
/// from its law; `table_bytes`, the memory of its tables.
#[pyfunction]
fn grid_law<'py>(py: Python<'py>, law: (String, f64, u32), dim: usize) -> PyResult<Bound<'py, PyDict>> {
    let request = Request::new((&law.0, law.1, law.2), [0; 8], 0, dim, None)?;
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
