//! The program of the simulation.
fn main() {
    tidings_sim_chance::seed(1);
}
