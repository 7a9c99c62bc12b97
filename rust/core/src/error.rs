//! What the core refuses, and why.

use std::sync::Arc;

/// Every way in which the core refuses its arguments.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An argument, or an element of an array argument, is outside its domain.
    #[error("{name}{} must be {allowed}, got {value}", bracketed(index))]
    Value {
        /// The argument's name.
        name: &'static str,
        /// Where the element is, one number an axis; empty for a scalar.
        index: Vec<usize>,
        /// What would have been accepted.
        allowed: String,
        /// What was given.
        value: String,
    },
    /// A function that the caller gave failed.
    #[error("{0}")]
    Callback(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The scalar argument `name` is not `allowed`.
    pub fn argument(name: &'static str, allowed: impl Into<String>, value: impl ToString) -> Self {
        Self::Value { name, index: Vec::new(), allowed: allowed.into(), value: value.to_string() }
    }

    /// The element `index` of the argument `name` is not `allowed`.
    pub fn element<const AXES: usize>(
        name: &'static str,
        index: [usize; AXES],
        allowed: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        Self::Value { name, index: index.into(), allowed: allowed.into(), value: value.to_string() }
    }
}

fn bracketed(index: &[usize]) -> String {
    if index.is_empty() {
        return String::new();
    }
    format!("[{}]", index.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// The core's result type.
pub type Result<T> = std::result::Result<T, Error>;
