//! Confidence bounds, the Rényi supremum, radii and certificates.

use std::num::NonZeroUsize;
use std::sync::Arc;

use numpy::ndarray::{ArrayView2, s};
use numpy::{Element, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use rsmooth_core::bounds::sup_many;
use rsmooth_core::certify::{Certificates, Certifier, Count, RunnerUp, Settings, top_classes as core_top_classes};
use rsmooth_core::confidence::{Interval, Side, ln_wealth_many};

use crate::arrays::{OnCounts, Place, any_integer, in_slices};
use crate::error::CoreError;
use crate::registry::Rule;

/// Adds this module's functions to the extension.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(renyi_sup, m)?)?;
    m.add_function(wrap_pyfunction!(confidence_bound, m)?)?;
    m.add_function(wrap_pyfunction!(anytime_ln_wealth, m)?)?;
    m.add_function(wrap_pyfunction!(radius_of, m)?)?;
    m.add_function(wrap_pyfunction!(top_classes, m)?)?;
    m.add_function(wrap_pyfunction!(certify, m)?)
}

/// Writes the Rényi supremum of each pair, and its order.
#[pyfunction]
fn renyi_sup(
    py: Python<'_>,
    p1: PyReadonlyArray1<'_, f64>,
    p2: PyReadonlyArray1<'_, f64>,
    mut value: PyReadwriteArray1<'_, f64>,
    mut order: Option<PyReadwriteArray1<'_, f64>>,
    threads: Option<NonZeroUsize>,
    place: Place,
) -> PyResult<()> {
    let (p1, p2, value) = (p1.as_slice()?, p2.as_slice()?, value.as_slice_mut()?);
    let mut order = order.as_mut().map(|order| order.as_slice_mut()).transpose()?;
    place.in_slices(py, p1.len(), |rows| {
        let order = order.as_mut().map(|order| &mut order[rows.clone()]);
        sup_many(&p1[rows.clone()], &p2[rows.clone()], &mut value[rows], order, threads)
    })
}

/// Writes the bound of each triple that the interval of this name gives.
#[pyfunction]
fn confidence_bound(
    py: Python<'_>,
    interval: &str,
    k: PyReadonlyArray1<'_, i64>,
    n: PyReadonlyArray1<'_, i64>,
    alpha: PyReadonlyArray1<'_, f64>,
    upper: bool,
    mut bound: PyReadwriteArray1<'_, f64>,
    place: Place,
) -> PyResult<()> {
    let (k, n, alpha, bound) = (k.as_slice()?, n.as_slice()?, alpha.as_slice()?, bound.as_slice_mut()?);
    let interval = Interval::named(interval).map_err(CoreError::from)?;
    let side = if upper { Side::Upper } else { Side::Lower };
    place.in_slices(py, k.len(), |rows| {
        let out = &mut bound[rows.clone()];
        interval.bound_many(&k[rows.clone()], &n[rows.clone()], &alpha[rows], side, out, None)
    })
}

/// Writes the logarithm of the wealth of each triple.
#[pyfunction]
fn anytime_ln_wealth(
    py: Python<'_>,
    k: PyReadonlyArray1<'_, i64>,
    n: PyReadonlyArray1<'_, i64>,
    m: PyReadonlyArray1<'_, f64>,
    mut ln_wealth: PyReadwriteArray1<'_, f64>,
    place: Place,
) -> PyResult<()> {
    let (k, n, m, ln_wealth) = (k.as_slice()?, n.as_slice()?, m.as_slice()?, ln_wealth.as_slice_mut()?);
    place.in_slices(py, k.len(), |rows| {
        let out = &mut ln_wealth[rows.clone()];
        ln_wealth_many(&k[rows.clone()], &n[rows.clone()], &m[rows], out, None)
    })
}

/// Writes the radius of each pair under a rule, and its order.
#[pyfunction]
fn radius_of(
    py: Python<'_>,
    p1: PyReadonlyArray1<'_, f64>,
    p2: PyReadonlyArray1<'_, f64>,
    rule: &Rule,
    mut radius: PyReadwriteArray1<'_, f64>,
    mut order: PyReadwriteArray1<'_, f64>,
    threads: Option<NonZeroUsize>,
    place: Place,
) -> PyResult<()> {
    let (p1, p2) = (p1.as_slice()?, p2.as_slice()?);
    let (radius, order) = (radius.as_slice_mut()?, order.as_slice_mut()?);
    let rule = &rule.0;
    place.in_slices(py, p1.len(), |rows| {
        let (radius, order) = (&mut radius[rows.clone()], &mut order[rows.clone()]);
        rule.radius_many(&p1[rows.clone()], &p2[rows], radius, Some(order), threads)
    })
}

/// Writes the class with the most votes of each row of `selection`.
#[pyfunction]
fn top_classes(
    py: Python<'_>,
    selection: &Bound<'_, PyAny>,
    mut prediction: PyReadwriteArray1<'_, i64>,
) -> PyResult<()> {
    let prediction = prediction.as_slice_mut()?;
    any_integer(selection, TopClasses { py, prediction })
}

/// Certifies each row of `counts`. `prediction` comes with the selected classes if `separate`.
#[pyfunction]
fn certify(
    py: Python<'_>,
    counts: &Bound<'_, PyAny>,
    rule: &Rule,
    alpha: f64,
    complement: bool,
    interval: &str,
    separate: bool,
    n: Option<u64>,
    noise_error: f64,
    mut prediction: PyReadwriteArray1<'_, i64>,
    mut radius: PyReadwriteArray1<'_, f64>,
    mut p1: PyReadwriteArray1<'_, f64>,
    mut p2: PyReadwriteArray1<'_, f64>,
    mut order: PyReadwriteArray1<'_, f64>,
    threads: Option<NonZeroUsize>,
) -> PyResult<()> {
    let out = Certificates {
        prediction: prediction.as_slice_mut()?,
        radius: radius.as_slice_mut()?,
        p1: p1.as_slice_mut()?,
        p2: p2.as_slice_mut()?,
        order: order.as_slice_mut()?,
    };
    let settings = Settings {
        rule: Arc::clone(&rule.0),
        alpha,
        runner_up: if complement { RunnerUp::Complement } else { RunnerUp::Second },
        interval: Interval::named(interval).map_err(CoreError::from)?,
        separate,
        draws: n,
        noise_error,
    };
    any_integer(counts, Certify { py, settings, out, threads })
}

struct TopClasses<'a, 'py> {
    py: Python<'py>,
    prediction: &'a mut [i64],
}

impl OnCounts for TopClasses<'_, '_> {
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()> {
        in_slices(self.py, counts.nrows(), |rows| {
            let part = counts.slice(s![rows.clone(), ..]);
            let part = part.as_standard_layout();
            let (first, out) = (rows.start, &mut self.prediction[rows]);
            core_top_classes(part.as_slice().unwrap_or_default(), part.ncols(), "selection", first, out)
        })
    }
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
        let certifier = Certifier::new(settings, classes, rows).map_err(CoreError::from)?;
        in_slices(py, rows, |rows| {
            // Rows in C order are used where they lie; of any other layout one slice at a time is copied.
            let part = counts.slice(s![rows.clone(), ..]);
            let part = part.as_standard_layout();
            let first = rows.start;
            let out = Certificates {
                prediction: &mut out.prediction[rows.clone()],
                radius: &mut out.radius[rows.clone()],
                p1: &mut out.p1[rows.clone()],
                p2: &mut out.p2[rows.clone()],
                order: &mut out.order[rows],
            };
            certifier.certify(part.as_slice().unwrap_or_default(), first, out, threads)
        })
    }
}
