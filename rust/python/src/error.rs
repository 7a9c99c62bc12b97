//! The core's errors as Python exceptions.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Carries a core error across the boundary, so that `?` does.
pub struct CoreError(rsmooth_core::Error);

impl From<rsmooth_core::Error> for CoreError {
    fn from(error: rsmooth_core::Error) -> Self {
        Self(error)
    }
}

impl From<CoreError> for PyErr {
    fn from(error: CoreError) -> Self {
        PyValueError::new_err(error.0.to_string())
    }
}
