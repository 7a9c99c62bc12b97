//! The mechanisms x ↦ x + z whose guarantees are known.
//!
//! A mechanism is one file, which owns its law, how far that reaches, and what is known of it ([`profile`]). To add one,
//! write its file and add its name here.

mod callback;
mod exponential;
mod gaussian;
mod laplace;
pub mod profile;
mod uniform;

pub use callback::Callback;
pub use exponential::Exponential;
pub use gaussian::Gaussian;
pub use laplace::Laplace;
use profile::{Norm, Profile};
pub use uniform::Uniform;

use crate::noise::grid;
use crate::noise::law::{Law, Stream};
use crate::noise::real::Real;
use crate::{Error, Result};

/// Lists the mechanisms: makes of them the one type that the rest of the crate knows.
macro_rules! registry {
    ($($family:ident),*) => {
        /// A mechanism: the law of the noise z that it adds, and its parameter.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Mechanism {
            $(
                #[doc = concat!("See [`", stringify!($family), "`].")]
                $family($family),
            )*
        }

        impl Mechanism {
            /// The names of all mechanisms and of their parameters.
            pub const NAMES: &[(&str, &str)] = &[$(($family::NAME, $family::PARAMETER)),*];

            /// The mechanism called `name`. Its parameter must be finite and above 0.
            pub fn named(name: &str, parameter: f64) -> Result<Self> {
                $(if name == $family::NAME {
                    if parameter > 0.0 && parameter.is_finite() {
                        return Ok(Self::$family($family::new(parameter)));
                    }
                    return Err(Error::argument($family::PARAMETER, "a finite number above 0", parameter));
                })*
                let names = Self::NAMES.iter().map(|names| format!("\"{}\"", names.0)).collect::<Vec<_>>().join(", ");
                Err(Error::argument("mechanism", format!("one of {names}"), format!("{name:?}")))
            }

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$family(_) => $family::NAME),*
                }
            }

            /// What its parameter is called.
            pub fn parameter_name(self) -> &'static str {
                match self {
                    $(Self::$family(_) => $family::PARAMETER),*
                }
            }

            /// The standard deviation or scale.
            pub fn parameter(self) -> f64 {
                match self {
                    $(Self::$family(family) => family.parameter()),*
                }
            }

            /// A size that no coordinate of its noise passes, over its parameter.
            pub(crate) fn reach(self, dim: usize) -> f64 {
                match self {
                    $(Self::$family(_) => $family::reach(dim)),*
                }
            }

            /// E‖z‖∞ in `dim` coordinates.
            pub fn expected_linf(self, dim: u64) -> f64 {
                let unit = match self {
                    $(Self::$family(_) => $family::unit_linf(dim as f64)),*
                };
                self.parameter() * unit
            }

            /// Whether the law of a coordinate depends on how many there are.
            pub(crate) fn is_joint(self) -> bool {
                match self {
                    $(Self::$family(_) => $family::JOINT),*
                }
            }

            /// The exact law of its noise in steps of 1/`grid`, `dim` coordinates a draw.
            pub(crate) fn grid_law(self, grid: u32, dim: u64) -> Result<grid::Law> {
                match self {
                    $(Self::$family(family) => family.grid_law(grid, dim)),*
                }
            }

            fn profile_of(self, norm: Norm, dim: f64, grid: Option<u32>) -> Profile {
                match self {
                    $(Self::$family(family) => family.profile(norm, dim, grid)),*
                }
            }

            /// Does work that depends on its type.
            pub(crate) fn visit(self, visitor: impl Visitor) {
                match self {
                    $(Self::$family(family) => visitor.visit(family)),*
                }
            }
        }
    };
}

registry!(Gaussian, Exponential, Laplace, Uniform);

/// What a mechanism's file says of it. A mechanism has one parameter, which scales its noise.
pub(crate) trait Family: Copy {
    /// What it is called.
    const NAME: &str;
    /// What its parameter is called.
    const PARAMETER: &str;

    /// Whether the law of a coordinate depends on how many there are.
    const JOINT: bool = false;

    /// Of a parameter that is finite and above 0.
    fn new(parameter: f64) -> Self;

    /// The parameter.
    fn parameter(self) -> f64;

    /// How bits become noise.
    fn law<'a, R: Real>(self, stream: &Stream<'a>) -> impl Law<R> + use<'a, R, Self>;

    /// The exact law of noise in steps of 1/`grid`, `dim` coordinates a draw.
    fn grid_law(self, grid: u32, dim: u64) -> Result<grid::Law>;

    /// A size that no coordinate of noise of parameter 1 passes, or none in practice.
    fn reach(dim: usize) -> f64;

    /// What is known of it under shifts measured in `norm`, in `dim` coordinates, its draws rounded to multiples of
    /// 1/`grid` where that is given.
    fn profile(self, norm: Norm, dim: f64, grid: Option<u32>) -> Profile;

    /// E‖z‖∞ for a parameter of 1, with a relative error below 1e-12.
    fn unit_linf(dim: f64) -> f64;
}

/// Work that depends on the type of a mechanism.
pub(crate) trait Visitor {
    /// Does it.
    fn visit(self, family: impl Family);
}

impl Mechanism {
    /// What is known of it under shifts measured in `norm`, in `dim` coordinates, of draws that are multiples of 1/`grid`
    /// where that is given.
    pub fn profile(self, norm: Norm, dim: u64, grid: Option<u32>) -> Result<Profile> {
        if dim == 0 {
            return Err(Error::argument("dim", "an integer of at least 1", dim));
        }
        if grid == Some(0) {
            return Err(Error::argument("grid", "an integer of at least 1", 0));
        }
        Ok(self.profile_of(norm, dim as f64, grid))
    }

    /// The least parameter with which the mechanism called `name` has D_MR(`r`) ≤ `epsilon` in `norm`, as computed.
    pub fn parameter_for(name: &str, r: f64, epsilon: f64, norm: Norm, dim: u64) -> Result<f64> {
        let divergence = |parameter: f64| {
            let mut value = [0.0];
            match Self::named(name, parameter)?.profile(norm, dim, None)?.mr {
                Some(mr) => mr.at(&[r], &mut value)?,
                None => return Err(Error::argument("mechanism", "one whose divergence D_MR is finite", name)),
            }
            Ok::<f64, Error>(value[0])
        };
        // The bits of positive numbers are in the numbers' order, and D_MR falls as the parameter grows.
        let (mut low, mut high) = (0, f64::MAX.to_bits());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if divergence(f64::from_bits(middle))? <= epsilon {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(f64::from_bits(high))
    }
}
