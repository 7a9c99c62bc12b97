//! Elementary functions and quantiles, with errors that are counted.

pub(crate) mod elementary;
pub(crate) mod quadrature;
pub(crate) mod quantile;
