//! One node in a container: what a process can be sent by signal, a container is told through docker.

use std::time::Duration;

use super::compose::docker;
use crate::{Proof, When};

/// A node's container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Docker's id of it.
    pub id: String,
    /// `node-1` …: the name that other nodes know it by.
    pub service: String,
    /// Where its API is published on this machine: `host:port`.
    pub published: String,
    /// Whether it was started and not killed since.
    pub up: bool,
}

impl Container {
    /// Starts it again, with its data.
    ///
    /// # Errors
    /// When docker cannot.
    pub fn start(&mut self) -> Proof {
        docker(&["start", &self.id])?;
        self.up = true;
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Proof {
        docker(&["kill", "--signal", "KILL", &self.id]).map(drop)
    }

    /// Waits for a killed one to end.
    ///
    /// # Errors
    /// When docker cannot.
    pub fn reap(&mut self) -> Proof {
        self.up = false;
        docker(&["wait", &self.id]).map(drop)
    }

    /// Freezes every process in it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Proof {
        docker(&["pause", &self.id]).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not frozen.
    pub fn unpause(&self) -> Proof {
        docker(&["unpause", &self.id]).map(drop)
    }

    /// SIGTERM, and SIGKILL after `patience`; gives the exit code.
    ///
    /// # Errors
    /// When docker cannot.
    pub fn stop(&mut self, patience: Duration) -> Proof<i32> {
        docker(&["stop", "--time", &patience.as_secs().to_string(), &self.id])?;
        self.up = false;
        self.exit_code()
    }

    /// What it ended with.
    ///
    /// # Errors
    /// When docker cannot say.
    pub fn exit_code(&self) -> Proof<i32> {
        self.state("{{.State.ExitCode}}")?.parse().when("reading an exit code")
    }

    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.state("{{.State.Running}}").is_ok_and(|text| text == "true")
    }

    /// The id that its process has on this machine.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Proof<u32> {
        let pid: u32 = self.state("{{.State.Pid}}")?.parse().when("reading a process id")?;
        crate::failure::ensure(pid > 0, || format!("{} does not run", self.service))?;
        Ok(pid)
    }

    /// Its address in the testbed's network.
    ///
    /// # Errors
    /// When it does not run.
    pub fn address(&self) -> Proof<String> {
        self.state("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// The end of what it logged.
    pub fn log_tail(&self) -> String {
        self.logged("15")
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        self.logged("all")
    }

    /// The last lines that it logged: so many, or `all`.
    fn logged(&self, lines: &str) -> String {
        // Nodes log to stderr, which `docker logs` gives on stderr too.
        let output = std::process::Command::new("docker").args(["logs", "--tail", lines, &self.id]).output();
        output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default()
    }

    fn state(&self, format: &str) -> Proof<String> {
        Ok(docker(&["inspect", "--format", format, &self.id])?.trim().to_owned())
    }
}
