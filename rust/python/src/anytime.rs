//! Confidence bounds that hold after every draw, and the wealth they rest on.

use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use rsmooth_core::confidence::anytime as core;
use rsmooth_core::interval::Side;

use crate::radius::{in_slices, located};

/// Adds this module's functions to the extension.
pub fn register(m: &pyo3::Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(anytime, m)?)?;
    m.add_function(wrap_pyfunction!(anytime_ln_wealth, m)?)
}

/// Writes the bound of each triple that holds after every draw at once.
#[pyfunction]
#[pyo3(signature = (k, n, alpha, upper, bound, first, shape))]
fn anytime(
    py: Python<'_>,
    k: PyReadonlyArray1<'_, i64>,
    n: PyReadonlyArray1<'_, i64>,
    alpha: PyReadonlyArray1<'_, f64>,
    upper: bool,
    mut bound: PyReadwriteArray1<'_, f64>,
    first: usize,
    shape: Vec<usize>,
) -> PyResult<()> {
    let (k, n, alpha, bound) = (k.as_slice()?, n.as_slice()?, alpha.as_slice()?, bound.as_slice_mut()?);
    let side = if upper { Side::Upper } else { Side::Lower };
    in_slices(py, k.len(), |rows| {
        let (start, out) = (rows.start, &mut bound[rows.clone()]);
        let done = py.detach(|| core::anytime_many(&k[rows.clone()], &n[rows.clone()], &alpha[rows], side, out, None));
        located(done, first + start, &shape)
    })
}

/// Writes the logarithm of the wealth of each triple.
#[pyfunction]
#[pyo3(signature = (k, n, m, ln_wealth, first, shape))]
fn anytime_ln_wealth(
    py: Python<'_>,
    k: PyReadonlyArray1<'_, i64>,
    n: PyReadonlyArray1<'_, i64>,
    m: PyReadonlyArray1<'_, f64>,
    mut ln_wealth: PyReadwriteArray1<'_, f64>,
    first: usize,
    shape: Vec<usize>,
) -> PyResult<()> {
    let (k, n, m, ln_wealth) = (k.as_slice()?, n.as_slice()?, m.as_slice()?, ln_wealth.as_slice_mut()?);
    in_slices(py, k.len(), |rows| {
        let (start, out) = (rows.start, &mut ln_wealth[rows.clone()]);
        let done = py.detach(|| core::ln_wealth_many(&k[rows.clone()], &n[rows.clone()], &m[rows], out, None));
        located(done, first + start, &shape)
    })
}
