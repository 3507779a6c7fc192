//! A supplier that is described by a document instead of code: how a request is made and what the answers mean.

mod account;
mod answer;
mod definition;
mod described;
mod opening;
mod template;
mod wrong;

pub use described::Described;
pub(crate) use opening::{ENDPOINT, SECRET, USER, open};
