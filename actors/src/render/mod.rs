//! Templates: content with placeholders in, content for one recipient out. Pure; used by actors and by the edge.

mod compiled;
mod error;
mod old;
mod variables;

pub use compiled::Compiled;
pub use error::{RenderError, SyntaxError};
pub use variables::Variables;

#[cfg(test)]
mod tests;
