//! A second node of a number that is taken: the spare container with another node's number, and addresses of its own.

use std::fs;

use super::compose::tool;
use super::container::Container;
use super::stand::Stand;
use crate::process::Node;
use crate::{Proof, When};

impl Stand {
    /// Copies what node `from` has on its disk, which must not run, to where `to` keeps its own.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy_disk(&self, from: u64, to: u64) -> Proof {
        // Owners and modes too: the nodes are other users on this machine.
        let (from, to) = (format!("{}/.", self.data(from).display()), self.data(to).display().to_string());
        tool("cp", &["-a", &from, &to]).map(drop)
    }

    /// Starts the spare container as another node of number `id`, with what is in the spare one's folder.
    ///
    /// # Errors
    /// When docker cannot.
    pub fn start_twin(&self, id: u64) -> Proof<Node> {
        let text = fs::read_to_string(self.config(id)).when("reading a node's config")?;
        let own = text.replace(&format!("\"node-{id}:"), "\"node-4:");
        fs::write(self.config(4), own).when("writing a twin's config")?;
        self.start_spare()
    }
}

/// The first of `words` that the log of a container holds.
pub fn said<'a>(container: &Container, words: &[&'a str]) -> Option<&'a str> {
    let log = container.log();
    words.iter().copied().find(|words| log.contains(words))
}
