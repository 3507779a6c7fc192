//! A supplier that is described by a document instead of code: how a request is made and what the answers mean.

mod account;
mod answer;
mod definition;
mod template;

pub(crate) use account::Account;
pub(crate) use definition::Definition;
