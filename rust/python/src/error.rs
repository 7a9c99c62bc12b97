//! The core's errors as Python exceptions.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rsmooth_core::Error;

/// Carries a core error across the boundary, so that `?` does.
pub struct CoreError(Error);

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<CoreError> for PyErr {
    /// A ValueError that tells by the attributes `argument` and `index`, a tuple, what it is about; or what a Python function
    /// raised, as it was.
    fn from(CoreError(error): CoreError) -> Self {
        let message = error.to_string();
        Python::attach(|py| match error {
            Error::Value { name, index, .. } => {
                let raised = PyValueError::new_err(message);
                let told = raised
                    .value(py)
                    .setattr("argument", name)
                    .and_then(|()| raised.value(py).setattr("index", pyo3::types::PyTuple::new(py, index)?));
                told.err().unwrap_or(raised)
            }
            Error::Callback(cause) => match cause.downcast_ref::<PyErr>() {
                Some(raised) => raised.clone_ref(py),
                None => PyValueError::new_err(message),
            },
        })
    }
}
