//! One compose project: brought up under a name of its own, and taken away when this is dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Failure, Proof, When, binary};

/// A compose project.
#[derive(Debug)]
pub struct Compose {
    project: String,
    env: BTreeMap<String, String>,
    keep: bool,
}

impl Compose {
    /// A project by its name, with what the variables of the compose file are to be.
    pub fn new(project: impl Into<String>, env: BTreeMap<String, String>) -> Self {
        Self { project: project.into(), env, keep: false }
    }

    /// The folder of the compose file.
    pub fn folder() -> PathBuf {
        binary::root().join("cluster-tests/testbed")
    }

    /// Starts the services that are named.
    ///
    /// # Errors
    /// When compose says no.
    pub fn up(&self, services: &[&str]) -> Proof {
        self.run(&[&["--profile", "spare", "up", "-d", "--no-build"], services].concat()).map(drop)
    }

    /// The container of a service.
    ///
    /// # Errors
    /// When there is none.
    pub fn container(&self, service: &str) -> Proof<String> {
        let ids = self.run(&["--profile", "spare", "ps", "-q", service])?;
        let id = ids.lines().next().unwrap_or_default().trim().to_owned();
        crate::failure::ensure(!id.is_empty(), || format!("{service} has no container"))?;
        Ok(id)
    }

    /// Whether any container of the project is there.
    ///
    /// # Errors
    /// When docker does not answer.
    pub fn is_up(&self) -> Proof<bool> {
        Ok(!self.run(&["ps", "-q"])?.trim().is_empty())
    }

    /// The name of the network that compose made.
    pub fn network(&self) -> String {
        format!("{}_cluster", self.project)
    }

    /// Stops everything and removes containers, network and volumes.
    ///
    /// # Errors
    /// When compose says no.
    pub fn down(&self) -> Proof {
        self.run(&["--profile", "spare", "--profile", "metrics", "down", "-v", "--remove-orphans", "-t", "1"]).map(drop)
    }

    /// Leaves everything running when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn run(&self, args: &[&str]) -> Proof<String> {
        let program = program()?;
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg("--project-name").arg(&self.project);
        command.arg("--file").arg(Self::folder().join("compose.yml")).args(args).envs(&self.env);
        output(command.stdin(Stdio::null()).output(), &format!("compose {}", args.join(" ")))
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing more can be done about what cannot be taken away; the next `down` by name tries again.
            let _left = self.down();
        }
    }
}

/// Runs `docker` and gives what it printed.
///
/// # Errors
/// When it ends badly, with its words.
pub fn docker(args: &[&str]) -> Proof<String> {
    output(Command::new("docker").args(args).stdin(Stdio::null()).output(), &format!("docker {}", args.join(" ")))
}

/// Runs a program that prepares or breaks something.
///
/// # Errors
/// When it ends badly, with its words.
pub fn tool(program: &str, args: &[&str]) -> Proof<String> {
    output(Command::new(program).args(args).stdin(Stdio::null()).output(), &format!("{program} {}", args.join(" ")))
}

/// Builds the images out of the programs beside the running one.
///
/// # Errors
/// When docker cannot.
pub fn build_images(programs: &Path) -> Proof<String> {
    let script = Compose::folder().join("image.sh");
    let output = Command::new(&script).arg(programs).stdin(Stdio::null()).output();
    self::output(output, "building the images")
}

/// Compose as version 2 brings it to docker, or else the program of version 1.
fn program() -> Proof<&'static [&'static str]> {
    let works = |program: &[&str]| {
        let tried = Command::new(program[0]).args(&program[1..]).arg("version").stdin(Stdio::null()).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let known: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    known.into_iter().find(|program| works(program)).when("looking for docker compose or docker-compose")
}

fn output(output: std::io::Result<Output>, doing: &str) -> Proof<String> {
    let output = output.when(doing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{doing}: {}", words.trim())))
}
