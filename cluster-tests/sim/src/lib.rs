//! Nothing: the simulation is the program `sim`, built with the feature of that name, so that a build of the whole
//! workspace does not turn the simulated network and disk on.
