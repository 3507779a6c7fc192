//! Templates: content with placeholders in, content for one recipient out. Pure; used by actors and by the edge.

pub mod apart;
mod budget;
mod compiled;
mod engine;
mod error;
mod escape;
mod fields;
mod finished;
mod length;
mod old;
mod scan;
mod track;
mod variables;

pub use compiled::Compiled;
pub use error::{Fault, RenderError, SyntaxError};
pub use finished::{Finished, Finishing, Length, Unfit};
pub use variables::Variables;

#[cfg(test)]
mod apart_tests;
#[cfg(test)]
mod finished_tests;
#[cfg(test)]
mod tests;
