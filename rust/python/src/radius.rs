//! Confidence bounds, the Rényi supremum, radii and certificates.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use numpy::ndarray::{ArrayView2, s};
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use rsmooth_core::certify::{Certificates, Certifier, Count, RunnerUp, top_classes as core_top_classes};
use rsmooth_core::interval::{self, Side};
use rsmooth_core::radius::{self, Bound, Norm, Rule};
use rsmooth_core::{Error, Result};

use crate::error::CoreError;
use crate::noise::mechanism as named_mechanism;

/// Adds this module's functions to the extension.
pub fn register(m: &pyo3::Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(renyi_sup, m)?)?;
    m.add_function(wrap_pyfunction!(clopper_pearson, m)?)?;
    m.add_function(wrap_pyfunction!(radius_of, m)?)?;
    m.add_function(wrap_pyfunction!(top_classes, m)?)?;
    m.add_function(wrap_pyfunction!(certify, m)?)
}

/// Writes the Rényi supremum of each pair, and its order if asked. `first` is the number of the first pair among
/// elements of shape `shape`, for errors.
#[pyfunction]
#[pyo3(signature = (p1, p2, value, order, threads, first, shape))]
fn renyi_sup(
    py: Python<'_>,
    p1: PyReadonlyArray1<'_, f64>,
    p2: PyReadonlyArray1<'_, f64>,
    mut value: PyReadwriteArray1<'_, f64>,
    mut order: Option<PyReadwriteArray1<'_, f64>>,
    threads: Option<NonZeroUsize>,
    first: usize,
    shape: Vec<usize>,
) -> PyResult<()> {
    let (p1, p2, value) = (p1.as_slice()?, p2.as_slice()?, value.as_slice_mut()?);
    let order = order.as_mut().map(|order| order.as_slice_mut()).transpose()?;
    let done = py.detach(|| radius::sup_many(p1, p2, value, order, threads));
    located(done, first, &shape)
}

/// Writes the Clopper–Pearson bound of each triple.
#[pyfunction]
#[pyo3(signature = (k, n, alpha, upper, bound, first, shape))]
fn clopper_pearson(
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
        let done = py.detach(|| {
            interval::clopper_pearson_many(&k[rows.clone()], &n[rows.clone()], &alpha[rows], side, out, None)
        });
        located(done, first + start, &shape)
    })
}

/// Writes the radius of each pair under a rule, and its order.
#[pyfunction]
#[pyo3(signature = (p1, p2, rule, radius, order, threads, first, shape))]
fn radius_of(
    py: Python<'_>,
    p1: PyReadonlyArray1<'_, f64>,
    p2: PyReadonlyArray1<'_, f64>,
    rule: RuleArgument,
    mut radius: PyReadwriteArray1<'_, f64>,
    mut order: PyReadwriteArray1<'_, f64>,
    threads: Option<NonZeroUsize>,
    first: usize,
    shape: Vec<usize>,
) -> PyResult<()> {
    let (p1, p2) = (p1.as_slice()?, p2.as_slice()?);
    let (radius, order) = (radius.as_slice_mut()?, order.as_slice_mut()?);
    let rule = rule.build()?;
    in_slices(py, p1.len(), |rows| {
        let (start, radius, order) = (rows.start, &mut radius[rows.clone()], &mut order[rows.clone()]);
        let done = py.detach(|| rule.radius_many(&p1[rows.clone()], &p2[rows], radius, Some(order), threads));
        located(done, first + start, &shape)
    })
}

/// Writes the class with the most votes of each row of `selection`.
#[pyfunction]
fn top_classes(
    py: Python<'_>,
    selection: &pyo3::Bound<'_, PyAny>,
    mut prediction: PyReadwriteArray1<'_, i64>,
) -> PyResult<()> {
    let prediction = prediction.as_slice_mut()?;
    any_integer(selection, TopClasses { py, prediction })
}

/// Certifies each row of `counts`. `prediction` comes with the selected classes if `separate`.
#[pyfunction]
#[pyo3(signature = (counts, rule, alpha, complement, separate, prediction, radius, p1, p2, order, threads))]
fn certify(
    py: Python<'_>,
    counts: &pyo3::Bound<'_, PyAny>,
    rule: RuleArgument,
    alpha: f64,
    complement: bool,
    separate: bool,
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
    let runner_up = if complement { RunnerUp::Complement } else { RunnerUp::Second };
    any_integer(counts, Certify { py, rule: rule.build()?, alpha, runner_up, separate, out, threads })
}

/// A mechanism's name and parameter, a norm, a dimension and a bound.
#[derive(FromPyObject)]
struct RuleArgument(String, f64, f64, u64, String);

impl RuleArgument {
    fn build(&self) -> PyResult<Rule> {
        let Self(mechanism, parameter, norm, dim, bound) = self;
        let mechanism = named_mechanism(mechanism, *parameter)?;
        let norm = match *norm {
            1.0 => Norm::L1,
            2.0 => Norm::L2,
            f64::INFINITY => Norm::LInf,
            other => return Err(PyValueError::new_err(format!("norm must be 1, 2 or math.inf, got {other}"))),
        };
        let bound = match bound.as_str() {
            "renyi" => Bound::Renyi,
            "neyman-pearson" => Bound::NeymanPearson,
            "pure-dp" => Bound::PureDp,
            "pixeldp" => Bound::PixelDp,
            other => {
                let allowed = "\"renyi\", \"neyman-pearson\", \"pure-dp\" or \"pixeldp\"";
                return Err(PyValueError::new_err(format!("bound must be {allowed}, got {other:?}")));
            }
        };
        Ok(Rule::new(mechanism, norm, *dim, bound).map_err(CoreError::from)?)
    }
}

/// Work on a matrix of counts of whichever integer type.
trait OnCounts {
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()>;
}

fn any_integer(counts: &pyo3::Bound<'_, PyAny>, work: impl OnCounts) -> PyResult<()> {
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

struct TopClasses<'a, 'py> {
    py: Python<'py>,
    prediction: &'a mut [i64],
}

impl OnCounts for TopClasses<'_, '_> {
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()> {
        in_slices(self.py, counts.nrows(), |rows| {
            let part = counts.slice(s![rows.clone(), ..]);
            let (first, out) = (rows.start, &mut self.prediction[rows]);
            let done = self.py.detach(|| {
                let part = part.as_standard_layout();
                core_top_classes(part.as_slice().unwrap_or_default(), part.ncols(), "selection", first, out)
            });
            Ok(done.map_err(CoreError::from)?)
        })
    }
}

struct Certify<'a, 'py> {
    py: Python<'py>,
    rule: Rule,
    alpha: f64,
    runner_up: RunnerUp,
    separate: bool,
    out: Certificates<'a>,
    threads: Option<NonZeroUsize>,
}

impl OnCounts for Certify<'_, '_> {
    fn run<T: Count + Element>(self, counts: ArrayView2<'_, T>) -> PyResult<()> {
        let Self { py, rule, alpha, runner_up, separate, out, threads } = self;
        let (rows, classes) = counts.dim();
        let certifier = Certifier::new(rule, alpha, runner_up, separate, classes, rows).map_err(CoreError::from)?;
        in_slices(py, rows, |rows| {
            let part = counts.slice(s![rows.clone(), ..]);
            let first = rows.start;
            let out = Certificates {
                prediction: &mut out.prediction[rows.clone()],
                radius: &mut out.radius[rows.clone()],
                p1: &mut out.p1[rows.clone()],
                p2: &mut out.p2[rows.clone()],
                order: &mut out.order[rows],
            };
            let done = py.detach(|| {
                // Rows in C order are used where they lie; of any other layout one slice at a time is copied.
                let part = part.as_standard_layout();
                certifier.certify(part.as_slice().unwrap_or_default(), first, out, threads)
            });
            Ok(done.map_err(CoreError::from)?)
        })
    }
}

/// Runs `work` on consecutive ranges that cover `0..rows`, short enough for Ctrl-C to be answered between them.
pub(crate) fn in_slices(
    py: Python<'_>,
    rows: usize,
    mut work: impl FnMut(Range<usize>) -> PyResult<()>,
) -> PyResult<()> {
    const SHORT: Duration = Duration::from_millis(40);
    let (mut start, mut size) = (0, 1 << 6);
    while start < rows {
        let end = rows.min(start + size);
        let began = Instant::now();
        work(start..end)?;
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

/// Puts the index of an error about a flat element in terms of the arrays' shape.
pub(crate) fn located(done: Result<()>, first: usize, shape: &[usize]) -> PyResult<()> {
    let error = match done {
        Err(Error::Element { name, index, allowed, value }) => match index.parse::<usize>() {
            Ok(_) if shape.is_empty() => Error::Argument { name, allowed, value },
            Ok(flat) => {
                let mut rest = first + flat;
                let mut indices = Vec::with_capacity(shape.len());
                for &length in shape.iter().rev() {
                    indices.push((rest % length).to_string());
                    rest /= length;
                }
                indices.reverse();
                Error::Element { name, index: indices.join(", "), allowed, value }
            }
            Err(_) => Error::Element { name, index, allowed, value },
        },
        other => return Ok(other.map_err(CoreError::from)?),
    };
    Err(CoreError::from(error).into())
}
