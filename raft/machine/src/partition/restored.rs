//! A partition out of a backup: nobody owns it until a node of the new cluster takes it over.

use super::Partition;

impl Partition {
    /// Forgets who owned the partition. Results of its old owners count for nothing, and what they had claimed ends as
    /// the next owner finds it: an attempt whose end nobody knows.
    pub fn restored(&mut self) {
        self.owner = None;
        self.epoch = 0;
        self.since = 0;
    }
}
