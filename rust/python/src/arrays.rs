//! Work on arrays: the one place where the GIL is released, signals are looked at and errors are located.

use std::ops::Range;
use std::time::{Duration, Instant};

use numpy::ndarray::ArrayView2;
use numpy::{Element, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rsmooth_core::certify::Count;
use rsmooth_core::{Error, Result};

use crate::error::CoreError;

/// Runs `work` without the GIL.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    Ok(py.detach(work).map_err(CoreError::from)?)
}

/// Runs `work` without the GIL on consecutive ranges that cover `0..rows`, short enough for Ctrl-C to be answered between
/// them.
pub fn in_slices(py: Python<'_>, rows: usize, mut work: impl FnMut(Range<usize>) -> Result<()> + Send) -> PyResult<()> {
    const SHORT: Duration = Duration::from_millis(40);
    let (mut start, mut size) = (0, 1 << 6);
    while start < rows {
        let end = rows.min(start + size);
        let began = Instant::now();
        detached(py, || work(start..end))?;
        py.check_signals()?;
        let took = began.elapsed();
        if took < SHORT {
            size = (4 * size).min(1 << 18);
        } else if took > 2 * SHORT {
            size = (size / 2).max(1);
        }
        start = end;
    }
    Ok(())
}

/// Where a flat piece lies in the arrays that it was cut from, for errors.
#[derive(FromPyObject)]
pub struct Place {
    /// The number of its first element.
    #[pyo3(item(0))]
    first: usize,
    /// The arrays' shape.
    #[pyo3(item(1))]
    shape: Vec<usize>,
}

impl Place {
    /// [`in_slices`] for the elements of a piece: `work` speaks of element i of its slice as `[i]`, and the error of the
    /// element's indices in the arrays.
    pub fn in_slices(
        &self,
        py: Python<'_>,
        count: usize,
        mut work: impl FnMut(Range<usize>) -> Result<()> + Send,
    ) -> PyResult<()> {
        in_slices(py, count, |range| {
            let start = range.start;
            work(range).map_err(|error| self.located(error, start))
        })
    }

    fn located(&self, error: Error, start: usize) -> Error {
        match error {
            Error::Value { name, index, allowed, value } => {
                let mut rest = self.first + start + index.first().copied().unwrap_or_default();
                let mut index = vec![0; self.shape.len()];
                for (index, length) in index.iter_mut().zip(&self.shape).rev() {
                    *index = rest % length;
                    rest /= length;
                }
                Error::Value { name, index, allowed, value }
            }
            Error::Callback(cause) => Error::Callback(cause),
        }
    }
}

/// Work on a matrix of counts of whichever integer type.
pub trait OnCounts {
    /// Does it.
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()>;
}

/// Does `work` on `counts`.
pub fn any_integer(counts: &Bound<'_, PyAny>, work: impl OnCounts) -> PyResult<()> {
    macro_rules! dispatch {
        ($($type:ty),*) => {
            $(if let Ok(counts) = counts.extract::<PyReadonlyArray2<'_, $type>>() {
                return work.run(counts.as_array());
            })*
        };
    }
    dispatch!(i64, i32, u8, u16, u32, u64, i16, i8);
    Err(PyTypeError::new_err("expected a two-dimensional array of native integers"))
}
