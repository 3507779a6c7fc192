//! The tidy test: the rules of the house that a compiler does not know, read from the files themselves.
//!
//! Each rule is a function from text to faults, so that a planted fault can show that it bites.

mod bounds;
mod docs;
mod fences;
mod promises;
mod shapes;
mod sources;
mod tree;

/// Fails with every fault, one a line.
fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
