//! Which nodes hold which partition: as even as can be, moving as little as can be.
