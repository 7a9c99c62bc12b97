//! The mechanisms and bounds that there are, their profiles, and those of the caller's own.

use std::sync::Arc;

use numpy::{AllowTypeChange, PyArray1, PyArrayLike1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsmooth_core::bounds::{self, BOUNDS, TIGHTEST};
use rsmooth_core::confidence::Interval;
use rsmooth_core::mechanisms::Callback;
use rsmooth_core::mechanisms::profile::{Norm, Profile};
use rsmooth_core::{Error, Mechanism, Result};

use crate::arrays::detached;
use crate::error::CoreError;

/// The mechanism called `name`, as the package's classes call themselves.
pub fn mechanism(name: &str, parameter: f64) -> PyResult<Mechanism> {
    Ok(Mechanism::named(name, parameter).map_err(CoreError::from)?)
}

fn norm(order: f64) -> PyResult<Norm> {
    Ok(Norm::of(order).map_err(CoreError::from)?)
}

/// A mechanism whose profile is wanted: a name and a parameter, or the Python object that is the profile.
#[derive(FromPyObject)]
enum Subject<'py> {
    Named(String, f64),
    Own(Bound<'py, PyAny>),
}

impl Subject<'_> {
    /// What errors call it.
    fn describe(&self) -> String {
        match self {
            Self::Named(name, _) => format!("the {name} mechanism"),
            Self::Own(_) => "this mechanism".into(),
        }
    }

    fn profile(&self, norm_order: f64, dim: u64, grid: Option<u32>) -> PyResult<Profile> {
        let norm = norm(norm_order)?;
        match self {
            Self::Named(name, parameter) => {
                Ok(mechanism(name, *parameter)?.profile(norm, dim, grid).map_err(CoreError::from)?)
            }
            Self::Own(profile) => Ok(Profile {
                mr: part(profile, "mr")?.map(|function| Box::new(Callback::new("profile.mr", function)) as _),
                pure: part(profile, "epsilon")?
                    .map(|function| Box::new(Callback::new("profile.epsilon", function)) as _),
                approximate: part(profile, "delta")?
                    .map(|function| Box::new(Callback::new("profile.delta", function)) as _),
                tradeoff: part(profile, "tradeoff")?
                    .map(|function| Box::new(Callback::new("profile.tradeoff", function)) as _),
            }),
        }
    }
}

/// A part of a profile: writes its values at shifts and, for some parts, at a second argument.
type Function = Box<dyn Fn(&[f64], Option<&[f64]>, &mut [f64]) -> Result<()> + Send + Sync>;

/// The attribute `name` of a profile as a function that takes the GIL, or None.
fn part(profile: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Option<Function>> {
    let function = profile.getattr(name)?;
    if function.is_none() {
        return Ok(None);
    }
    let function = function.unbind();
    Ok(Some(Box::new(move |r: &[f64], beside: Option<&[f64]>, value: &mut [f64]| {
        Python::attach(|py| {
            let r = PyArray1::from_slice(py, r);
            let found = match beside {
                Some(beside) => function.call1(py, (r, PyArray1::from_slice(py, beside)))?,
                None => function.call1(py, (r,))?,
            };
            let found: PyArrayLike1<'_, f64, AllowTypeChange> = found.extract(py)?;
            if found.len()? != value.len() {
                let (got, wanted) = (found.len()?, value.len());
                let message = format!("profile.{name} must return as many values as it is given, {wanted}, got {got}");
                return Err(PyValueError::new_err(message));
            }
            for (value, found) in value.iter_mut().zip(found.as_array()) {
                *value = *found;
            }
            Ok(())
        })
        .map_err(|raised: PyErr| Error::Callback(Arc::new(raised)))
    })))
}

/// A profile and the bound that is applied to it.
#[pyclass(frozen, module = "rsmooth._core")]
pub struct Rule(pub Arc<bounds::Rule>);

#[pymethods]
impl Rule {
    #[new]
    #[pyo3(signature = (subject, norm, dim, bound, grid=None))]
    fn new(subject: Subject<'_>, norm: f64, dim: u64, bound: &str, grid: Option<u32>) -> PyResult<Self> {
        let profile = subject.profile(norm, dim, grid)?;
        let rule = bounds::Rule::new(profile, bound, &subject.describe()).map_err(CoreError::from)?;
        Ok(Self(Arc::new(rule)))
    }
}

/// The names of everything that has a file of its own.
#[pyfunction]
fn registry(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let row = |fields: &[(&str, &str)]| {
        let row = PyDict::new(py);
        fields.iter().try_for_each(|(name, value)| row.set_item(name, value)).map(|()| row)
    };
    let mechanisms = Mechanism::NAMES.iter().map(|(name, parameter)| row(&[("name", name), ("parameter", parameter)]));
    let bounds = BOUNDS.iter().map(|bound| row(&[("name", bound.name), ("label", bound.label), ("part", bound.part)]));
    let all = PyDict::new(py);
    all.set_item("mechanisms", mechanisms.collect::<PyResult<Vec<_>>>()?)?;
    all.set_item("bounds", bounds.collect::<PyResult<Vec<_>>>()?)?;
    all.set_item("tightest", TIGHTEST)?;
    let intervals = Interval::ALL.map(|interval| {
        let row = row(&[("name", interval.name())])?;
        row.set_item("stopped", interval.holds_when_stopped())?;
        Ok(row)
    });
    all.set_item("intervals", intervals.into_iter().collect::<PyResult<Vec<_>>>()?)?;
    Ok(all)
}

/// The names of the bounds that hold.
#[pyfunction]
#[pyo3(signature = (subject, norm, dim, grid=None))]
fn holding(subject: Subject<'_>, norm: f64, dim: u64, grid: Option<u32>) -> PyResult<Vec<&'static str>> {
    let profile = subject.profile(norm, dim, grid)?;
    Ok(BOUNDS.iter().filter(|bound| bound.holds(&profile)).map(|bound| bound.name).collect())
}

/// Which parts the profile of a mechanism of the registry has.
#[pyfunction]
#[pyo3(signature = (name, parameter, norm, dim, grid=None))]
fn parts(name: String, parameter: f64, norm: f64, dim: u64, grid: Option<u32>) -> PyResult<Vec<&'static str>> {
    let Profile { mr, pure, approximate, tradeoff } = Subject::Named(name, parameter).profile(norm, dim, grid)?;
    let parts = [
        ("mr", mr.is_some()),
        ("epsilon", pure.is_some()),
        ("delta", approximate.is_some()),
        ("tradeoff", tradeoff.is_some()),
    ];
    Ok(parts.into_iter().filter(|part| part.1).map(|part| part.0).collect())
}

/// Writes a part of the profile of a mechanism of the registry at each r, and ε or probability `beside` it.
#[pyfunction]
#[pyo3(signature = (name, parameter, norm, dim, grid, part, r, beside, value))]
fn part_at(
    py: Python<'_>,
    name: String,
    parameter: f64,
    norm: f64,
    dim: u64,
    grid: Option<u32>,
    part: &str,
    r: PyReadonlyArray1<'_, f64>,
    beside: PyReadonlyArray1<'_, f64>,
    mut value: PyReadwriteArray1<'_, f64>,
) -> PyResult<()> {
    let profile = Subject::Named(name, parameter).profile(norm, dim, grid)?;
    let (r, beside, value) = (r.as_slice()?, beside.as_slice()?, value.as_slice_mut()?);
    detached(py, || match (part, profile) {
        ("mr", Profile { mr: Some(mr), .. }) => mr.at(r, value),
        ("epsilon", Profile { pure: Some(pure), .. }) => pure.at(r, value),
        ("delta", Profile { approximate: Some(approximate), .. }) => approximate.at(r, beside, value),
        ("tradeoff", Profile { tradeoff: Some(tradeoff), .. }) => tradeoff.at(r, beside, value),
        _ => Err(Error::argument("part", "one that the profile has", format!("{part:?}"))),
    })
}

/// E‖z‖∞ of a mechanism of the registry.
#[pyfunction]
fn expected_linf(name: &str, parameter: f64, dim: u64) -> PyResult<f64> {
    Ok(mechanism(name, parameter)?.expected_linf(dim))
}

/// The least parameter with which a mechanism of the registry has a divergence of at most `epsilon` at `r`.
#[pyfunction]
fn parameter_for(name: &str, r: f64, epsilon: f64, order: f64, dim: u64) -> PyResult<f64> {
    Ok(Mechanism::parameter_for(name, r, epsilon, norm(order)?, dim).map_err(CoreError::from)?)
}

/// Adds this module's functions to the extension.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Rule>()?;
    m.add_function(wrap_pyfunction!(registry, m)?)?;
    m.add_function(wrap_pyfunction!(holding, m)?)?;
    m.add_function(wrap_pyfunction!(parts, m)?)?;
    m.add_function(wrap_pyfunction!(part_at, m)?)?;
    m.add_function(wrap_pyfunction!(expected_linf, m)?)?;
    m.add_function(wrap_pyfunction!(parameter_for, m)?)
}
