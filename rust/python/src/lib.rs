//! The boundary between `rsmooth-core` and Python: it checks, releases the GIL, calls the core and maps errors.

#![allow(clippy::too_many_arguments, reason = "Python functions take keyword arguments")]

mod arrays;
mod certify;
mod draws;
mod error;
mod grid;
mod noise;
mod registry;
mod topk;

use pyo3::prelude::*;

/// The compiled half of rsmooth. Use the functions of the package `rsmooth`, which check their arguments' types.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    registry::register(m)?;
    noise::register(m)?;
    grid::register(m)?;
    certify::register(m)?;
    topk::register(m)
}
