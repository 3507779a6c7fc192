//! One such process, seen from outside: started, asked, ended.

use std::io::{self, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use tidings_actors::render::apart::{Asked, Told, read_frame, write_frame};

/// The hidden subcommand that it runs.
pub(super) const ARGUMENT: &str = "render-apart";
/// Its flag once it has bounded itself.
pub(super) const CONFINED: &str = "--confined";
/// How long an answer may take by the clock. The process itself is bounded by the processor's time: what takes longer has
/// not had it.
const WITHIN: Duration = Duration::from_secs(10);

/// A process that fills templates.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    input: ChildStdin,
    answers: Receiver<Vec<u8>>,
    /// How much it has answered.
    pub(super) answered: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It died.
    Died(String),
    /// It was not given the time.
    Slow,
}

/// This program.
pub(super) fn program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    // What runs, also when a newer one was put in its place meanwhile.
    if running.exists() { running } else { std::env::current_exe().unwrap_or(running) }
}

impl Child {
    /// Starts one. It inherits no environment and no open file.
    ///
    /// # Errors
    /// The system does not start it.
    pub(super) fn start() -> io::Result<Self> {
        let mut command = Command::new(program());
        command.arg(ARGUMENT).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        // One answer at a time: it waits until the one before is fetched.
        let (give, answers) = sync_channel(1);
        let read = move || {
            let mut output = BufReader::new(output);
            while let Ok(Some(answer)) = read_frame(&mut output) {
                if give.send(answer).is_err() {
                    return;
                }
            }
        };
        let mut child = Self { process, input, answers, answered: 0 };
        if let Err(error) = std::thread::Builder::new().name("render-apart".to_owned()).spawn(read) {
            child.end();
            return Err(error);
        }
        Ok(child)
    }

    /// Asks. The answers are fetched one by one.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn ask(&mut self, asked: &Asked) -> io::Result<()> {
        write_frame(&mut self.input, &serde_json::to_vec(asked)?)
    }

    /// The next answer.
    ///
    /// # Errors
    /// Why there is none. The process is of no more use then.
    pub(super) fn answer(&mut self) -> Result<Told, Broken> {
        match self.answers.recv_timeout(WITHIN) {
            Ok(answer) => {
                self.answered += 1;
                serde_json::from_slice(&answer).map_err(|error| Broken::Died(format!("it answered nonsense: {error}")))
            }
            Err(RecvTimeoutError::Timeout) => Err(Broken::Slow),
            Err(RecvTimeoutError::Disconnected) => Err(Broken::Died(self.how())),
        }
    }

    /// How it died.
    fn how(&mut self) -> String {
        self.process.wait().map_or_else(|error| error.to_string(), words)
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

fn words(status: ExitStatus) -> String {
    let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
    match signal {
        Some(Signal::SIGXCPU) => "it took more of the processor's time than it may".to_owned(),
        Some(Signal::SIGABRT) => "it wanted more memory, or a deeper stack, than it may have".to_owned(),
        Some(Signal::SIGKILL) => "it was killed, perhaps because memory ran out".to_owned(),
        Some(signal) => format!("it died by {signal}"),
        None => format!("it ended, {status}"),
    }
}
