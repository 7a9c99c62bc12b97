//! The noise engine for Python.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsmooth_core::noise::{Element, Inputs, Noise};
use rsmooth_core::stream::{BLOCKS, GROUP, Key, LAYOUT_VERSION, level};
use rsmooth_core::{Mechanism, threads};

use crate::error::CoreError;
use crate::registry::mechanism;

/// Values computed between two looks at pending signals: some milliseconds of work.
const SLICE: usize = 1 << 22;

/// Values that one thread computes faster than several would start to.
const ALONE: usize = 1 << 16;

/// Bytes of output that no cache is trusted to hold until they are read.
const LARGE: usize = 1 << 26;

/// Which draws a call makes.
#[derive(FromPyObject)]
enum First<'py> {
    /// All that are wanted, from this number on.
    From(u64),
    /// `copies` for each input, from its own number on.
    Each(PyReadonlyArray1<'py, u64>),
}

/// What a call of [`fill`] draws, apart from the arrays.
struct Request<'py> {
    mechanism: Mechanism,
    key: Key,
    first: First<'py>,
    dim: usize,
    copies: usize,
    fresh: bool,
    threads: Option<NonZeroUsize>,
}

impl Request<'_> {
    fn fill<T: Element>(&self, py: Python<'_>, inputs: Option<&[T]>, out: &mut [T]) -> PyResult<()> {
        let noise = Noise::new::<T>(self.mechanism, self.key, self.dim).map_err(CoreError::from)?;
        let noise = if size_of_val(out) >= LARGE && !self.fresh { noise.past_caches() } else { noise };
        match &self.first {
            First::From(first) => self.fill_from(py, &noise, *first, inputs, out),
            First::Each(firsts) => self.fill_each(py, &noise, firsts.as_slice()?, inputs, out),
        }
    }

    /// Fills `out` with the draws from `first` on.
    fn fill_from<T: Element>(
        &self,
        py: Python<'_>,
        noise: &Noise,
        first: u64,
        inputs: Option<&[T]>,
        out: &mut [T],
    ) -> PyResult<()> {
        let inputs = inputs.map(|values| Inputs { values, copies: self.copies });
        // Even to ask how many processors there are takes longer than few values do.
        let threads = if out.len() <= ALONE { Some(NonZeroUsize::MIN) } else { self.threads };
        // A draw costs a whole group, however few of its values are used, or a sixteenth of one for each if they are very few.
        let cost = (BLOCKS * self.dim).min(self.dim.max(GROUP));
        let slice = if self.dim < SLICE { SLICE / cost * self.dim } else { SLICE };
        for (number, out) in out.chunks_mut(slice).enumerate() {
            py.detach(|| noise.fill(first, number * slice, inputs, out, threads));
            py.check_signals()?;
        }
        Ok(())
    }

    /// Fills `out` with the draws of each input, from its own number on.
    fn fill_each<T: Element>(
        &self,
        py: Python<'_>,
        noise: &Noise,
        firsts: &[u64],
        inputs: Option<&[T]>,
        out: &mut [T],
    ) -> PyResult<()> {
        let (copies, dim) = (self.copies, self.dim);
        let each = copies * dim;
        let values_of = |input: usize| inputs.map(|values| &values[input * dim..][..dim]);
        if each > 4 * ALONE {
            // The threads share each input's values.
            for (input, (first, out)) in firsts.iter().zip(out.chunks_mut(each)).enumerate() {
                self.fill_from(py, noise, *first, values_of(input), out)?;
            }
            return Ok(());
        }
        // The threads share the inputs.
        let (together, slice) = ((ALONE / each).max(1), SLICE / each);
        for (number, (firsts, out)) in firsts.chunks(slice).zip(out.chunks_mut(slice * each)).enumerate() {
            let threads = if out.len() <= ALONE { Some(NonZeroUsize::MIN) } else { self.threads };
            let pieces = firsts.chunks(together).zip(out.chunks_mut(together * each)).enumerate();
            let fill = |(piece, (firsts, out)): (usize, (&[u64], &mut [T]))| {
                for (at, (first, out)) in firsts.iter().zip(out.chunks_mut(each)).enumerate() {
                    let values = values_of(number * slice + piece * together + at);
                    let inputs = values.map(|values| Inputs { values, copies });
                    noise.fill(*first, 0, inputs, out, Some(NonZeroUsize::MIN));
                }
                Ok::<(), Infallible>(())
            };
            let Ok(()) = py.detach(|| threads::for_each(threads, pieces, fill));
            py.check_signals()?;
        }
        Ok(())
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
    let request = Request { mechanism, key: Key(key), first, dim, copies, fresh, threads };
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
