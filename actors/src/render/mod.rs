//! Templates: content with placeholders in, content for one recipient out. Pure; used by actors and by the edge.

mod compiled;
mod error;
mod escape;
mod fields;
mod finished;
mod length;
mod old;
mod track;
mod variables;

pub use compiled::Compiled;
pub use error::{RenderError, SyntaxError};
pub use finished::{Finished, Finishing, Length, Unfit};
pub use variables::Variables;

#[cfg(test)]
mod finished_tests;
#[cfg(test)]
mod tests;
