//! Processes of this very binary in which templates are filled whose cost nobody can tell: they are short of memory and
//! time, and may die of a template. See `tidings_actors::render::apart`.

mod child;
mod confined;
mod places;

pub use confined::run;

/// Gives this process its place apart. Before, and in tests, such templates are filled on threads of their own.
pub fn install() {
    tidings_actors::render::apart::install(std::sync::Arc::new(places::Places::default()));
}
