//! Top-k certificates.

use std::num::NonZeroUsize;
use std::sync::Arc;

use numpy::ndarray::{ArrayView2, s};
use numpy::{Element, PyReadwriteArray1};
use pyo3::prelude::*;
use rsmooth_core::certify::Count;
use rsmooth_core::confidence::Interval;
use rsmooth_core::topk::{By, Certificates, Settings, certify};

use crate::arrays::{OnCounts, any_integer, detached, in_slices};
use crate::error::CoreError;
use crate::registry::Rule;

/// Adds this module's functions to the extension.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(certify_topk, m)?)
}

/// Certifies that the class in each row of `prediction` stays among the `k` most probable ones.
#[pyfunction]
fn certify_topk(
    py: Python<'_>,
    counts: &Bound<'_, PyAny>,
    rule: &Rule,
    bound: &str,
    k: usize,
    alpha: f64,
    interval: &str,
    n: Option<u64>,
    noise_error: f64,
    mut prediction: PyReadwriteArray1<'_, i64>,
    mut radius: PyReadwriteArray1<'_, f64>,
    mut p1: PyReadwriteArray1<'_, f64>,
    mut p2: PyReadwriteArray1<'_, f64>,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let interval = Interval::named(interval).map_err(CoreError::from)?;
    let by = By::named(bound).map_err(CoreError::from)?;
    let settings = Settings { rule: Arc::clone(&rule.0), by, alpha, interval, k, draws: n, noise_error };
    let out = Certificates {
        prediction: prediction.as_slice_mut()?,
        radius: radius.as_slice_mut()?,
        p1: p1.as_slice_mut()?,
        p2: p2.as_slice_mut()?,
    };
    any_integer(counts, Certify { py, settings, out, threads })
}

struct Certify<'a, 'py> {
    py: Python<'py>,
    settings: Settings,
    out: Certificates<'a>,
    threads: Option<NonZeroUsize>,
}

impl OnCounts for Certify<'_, '_> {
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()> {
        let Self { py, settings, out, threads } = self;
        let (rows, classes) = counts.dim();
        let mut work = |rows: std::ops::Range<usize>| {
            let part = counts.slice(s![rows.clone(), ..]);
            let part = part.as_standard_layout();
            let first = rows.start;
            let out = Certificates {
                prediction: &mut out.prediction[rows.clone()],
                radius: &mut out.radius[rows.clone()],
                p1: &mut out.p1[rows.clone()],
                p2: &mut out.p2[rows],
            };
            certify(&settings, part.as_slice().unwrap_or_default(), classes, first, out, threads)
        };
        // The settings are checked even for no rows.
        detached(py, || work(0..0))?;
        in_slices(py, rows, work)
    }
}
