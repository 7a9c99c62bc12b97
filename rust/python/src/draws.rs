//! Draws of noise into one array, whatever noise it is: divided among threads, and interrupted by signals.

use std::num::NonZeroUsize;
use std::ops::Range;

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use rsmooth_core::noise::Inputs;
use rsmooth_core::stream::GROUP;
use rsmooth_core::{Error, Result, threads};

use crate::error::CoreError;

/// Values computed between two looks at pending signals: some milliseconds of work.
const SLICE: usize = 1 << 22;

/// Values that one thread computes faster than several would start to.
const ALONE: usize = 1 << 16;

/// Which draws a call makes.
#[derive(FromPyObject)]
pub enum First<'py> {
    /// All that are wanted, from this number on.
    From(u64),
    /// As many as there are copies for each input, from its own number on.
    Each(PyReadonlyArray1<'py, u64>),
}

/// The draws that one array holds, of `dim` values each.
pub struct Draws<'py> {
    pub first: First<'py>,
    pub dim: usize,
    /// Draws for each input.
    pub copies: usize,
    pub threads: Option<NonZeroUsize>,
}

/// Consecutive values of the array.
pub struct Part {
    /// The number of the draw that positions are counted from.
    pub first: u64,
    /// The position of the first value.
    pub start: usize,
    /// The inputs that the draws from `first` on belong to.
    pub inputs: Range<usize>,
    pub threads: Option<NonZeroUsize>,
}

impl Part {
    /// The inputs' values, `dim` each.
    pub fn of<'v, T>(&self, values: &'v [T], dim: usize, copies: usize) -> Result<Inputs<'v, T>> {
        let Some(values) = values.get(self.inputs.start * dim..self.inputs.end * dim) else {
            let allowed = format!("{dim} values for each of {} inputs", self.inputs.end);
            return Err(Error::argument("inputs", allowed, format!("{} values", values.len())));
        };
        Ok(Inputs { values, copies })
    }
}

impl Draws<'_> {
    /// Calls `fill` for parts of `out`.
    pub fn fill<T: Send>(
        &self,
        py: Python<'_>,
        out: &mut [T],
        fill: impl Fn(Part, &mut [T]) -> Result<()> + Sync,
    ) -> PyResult<()> {
        if self.copies == 0 {
            return Err(CoreError::from(Error::argument("copies", "at least 1", 0)).into());
        }
        match &self.first {
            First::From(first) => self.fill_from(py, *first, 0..out.len().div_ceil(self.copies * self.dim), out, &fill),
            First::Each(firsts) => self.fill_each(py, firsts.as_slice()?, out, &fill),
        }
    }

    /// Fills `out` with the draws from `first` on.
    fn fill_from<T: Send>(
        &self,
        py: Python<'_>,
        first: u64,
        inputs: Range<usize>,
        out: &mut [T],
        fill: &(impl Fn(Part, &mut [T]) -> Result<()> + Sync),
    ) -> PyResult<()> {
        // Even to ask how many processors there are takes longer than few values do.
        let threads = if out.len() <= ALONE { Some(NonZeroUsize::MIN) } else { self.threads };
        // A draw costs a whole group, however few of its values are used.
        let slice = if self.dim < SLICE { SLICE / self.dim.max(GROUP) * self.dim } else { SLICE };
        for (number, out) in out.chunks_mut(slice).enumerate() {
            let part = Part { first, start: number * slice, inputs: inputs.clone(), threads };
            py.detach(|| fill(part, out)).map_err(CoreError::from)?;
            py.check_signals()?;
        }
        Ok(())
    }

    /// Fills `out` with the draws of each input, from its own number on.
    fn fill_each<T: Send>(
        &self,
        py: Python<'_>,
        firsts: &[u64],
        out: &mut [T],
        fill: &(impl Fn(Part, &mut [T]) -> Result<()> + Sync),
    ) -> PyResult<()> {
        let each = self.copies * self.dim;
        if each > 4 * ALONE {
            // The threads share each input's values.
            for (input, (first, out)) in firsts.iter().zip(out.chunks_mut(each)).enumerate() {
                self.fill_from(py, *first, input..input + 1, out, fill)?;
            }
            return Ok(());
        }
        // The threads share the inputs.
        let (together, slice) = ((ALONE / each).max(1), SLICE / each);
        for (number, (firsts, out)) in firsts.chunks(slice).zip(out.chunks_mut(slice * each)).enumerate() {
            let threads = if out.len() <= ALONE { Some(NonZeroUsize::MIN) } else { self.threads };
            let pieces = firsts.chunks(together).zip(out.chunks_mut(together * each)).enumerate();
            let work = |(piece, (firsts, out)): (usize, (&[u64], &mut [T]))| {
                let from = number * slice + piece * together;
                (from..).zip(firsts.iter().zip(out.chunks_mut(each))).try_for_each(|(input, (first, out))| {
                    let inputs = input..input + 1;
                    fill(Part { first: *first, start: 0, inputs, threads: Some(NonZeroUsize::MIN) }, out)
                })
            };
            py.detach(|| threads::for_each(threads, pieces, work)).map_err(CoreError::from)?;
            py.check_signals()?;
        }
        Ok(())
    }
}
