//! What the process is told from outside: to end, to read its configuration again.

use super::failure::Failure;

/// Hears signals from the moment it is made; one that comes before anybody waits is not lost.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// Only heard where there is something to read again; elsewhere SIGHUP ends the process, as it does by itself.
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Hears SIGTERM and SIGINT.
    pub(super) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::SignalKind;
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up: None })
    }

    /// Hears SIGHUP too.
    pub(super) fn and_reread(self) -> Result<Self, Failure> {
        let hang_up = Some(listen(tokio::signal::unix::SignalKind::hangup())?);
        Ok(Self { hang_up, ..self })
    }

    /// Returns when the process is told to end.
    pub(super) async fn end(&mut self) {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }

    /// Returns when the process is told to end, or to read its configuration again.
    pub(super) async fn next(&mut self) -> Told {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            () = hang_up => Told::Reread,
        }
    }
}

#[cfg(unix)]
fn listen(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    tokio::signal::unix::signal(kind).map_err(|error| Failure::Failed(format!("cannot hear signals: {error}")))
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    pub(super) fn and_reread(self) -> Result<Self, Failure> {
        Ok(self)
    }

    pub(super) async fn end(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn next(&mut self) -> Told {
        self.end().await;
        Told::End
    }
}

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// To stop.
    End,
    /// To read its configuration again.
    Reread,
}
