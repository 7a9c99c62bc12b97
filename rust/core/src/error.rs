//! What the core refuses, and why.

/// Every way in which the core refuses its arguments.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scalar argument is outside its domain.
    #[error("{name} must be {allowed}, got {value}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What would have been accepted.
        allowed: String,
        /// What was given.
        value: String,
    },
    /// An element of an array argument is outside its domain.
    #[error("{name}[{index}] must be {allowed}, got {value}")]
    Element {
        /// The argument's name.
        name: &'static str,
        /// Where the element is: `7`, or `7, 2` in two dimensions.
        index: String,
        /// What would have been accepted.
        allowed: String,
        /// What was given.
        value: String,
    },
}

/// The core's result type.
pub type Result<T> = std::result::Result<T, Error>;
