//! `tidings backup`: the whole cluster in one file.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tidings_raft::Summary;

use super::Context;
use super::failure::Failure;

/// The arguments of `tidings backup`.
#[derive(Args)]
#[command(after_help = "\
Any node can be asked, with an admin key. Everything accepted before the command is in the file; what comes in while it
runs may be. The secrets in it stay sealed: keep the cluster's secret elsewhere, `tidings restore` needs both.")]
pub(super) struct Backup {
    /// The file to write; there must be none yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.to.exists() {
            return Err(Failure::Usage(format!("{} is there already", self.to.display())));
        }
        let part = part_of(&self.to)?;
        let result = self.take(context, &part).await;
        if result.is_err() {
            // What is left of it is of no use; that it cannot be removed is not what went wrong.
            drop(std::fs::remove_file(&part));
        }
        let summary = result?;
        let (head, to) = (&summary.head, self.to.display().to_string());
        let taken_at = head.taken_at.to_string();
        if context.out.json {
            let shown = json!({"file": to, "bytes": summary.bytes, "cluster": head.cluster,
                "partitions": head.partitions, "taken_at": taken_at});
            return context.out.line(shown.to_string());
        }
        let (bytes, cluster, partitions) = (summary.bytes, &head.cluster, head.partitions);
        context.out.line(format!(
            "{to} holds cluster {cluster} as of {taken_at}: {partitions} partitions and control, {bytes} bytes, checked"
        ))
    }

    /// Takes it into `part`, checks what was written, and gives it its name.
    async fn take(&self, context: &Context, part: &Path) -> Result<Summary, Failure> {
        let mut download = context.api()?.download(&["v1", "backup"]).await?;
        let mut file = File::create_new(part).map_err(|error| unwritten(part, &error))?;
        let bar = counting();
        while let Some(chunk) = download.next().await.map_err(|failure| broken(&failure.to_string()))? {
            file.write_all(&chunk).map_err(|error| unwritten(part, &error))?;
            bar.inc(chunk.len() as u64);
        }
        file.sync_all().map_err(|error| unwritten(part, &error))?;
        bar.finish_and_clear();
        let path = part.to_owned();
        let checking = tokio::task::spawn_blocking(move || {
            let bar = measured("checked");
            tidings_raft::inspect(&path, &mut |done, whole| show(&bar, done, whole))
        });
        let checked = checking.await.map_err(|error| Failure::Failed(error.to_string()))?;
        let summary = checked.map_err(|error| broken(&error.to_string()))?;
        std::fs::rename(part, &self.to).map_err(|error| unwritten(&self.to, &error))?;
        if let Some(folder) = self.to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unwritten(folder, &error))?;
        }
        Ok(summary)
    }
}

/// Where the file stands until it is whole.
fn part_of(to: &Path) -> Result<PathBuf, Failure> {
    let name = to.file_name().ok_or_else(|| Failure::Usage(format!("{} is no file name", to.display())))?;
    let mut part = name.to_owned();
    part.push(".part");
    Ok(to.with_file_name(part))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write {}: {error}", path.display()))
}

fn broken(why: &str) -> Failure {
    Failure::Failed(format!("the backup did not come whole, nothing was kept of it: {why}\nWhat to do: run it again."))
}

/// A count of bytes on stderr, when that is a terminal.
fn counting() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {bytes} taken, {bytes_per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// A bar on stderr, when that is a terminal.
pub(super) fn measured(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(&format!("  {{bar:40}} {{percent}} % {what}, {{elapsed}}")) {
        bar.set_style(style);
    }
    bar
}

/// Moves a bar.
pub(super) fn show(bar: &ProgressBar, done: u64, whole: u64) {
    bar.set_length(whole);
    bar.set_position(done);
    if done >= whole {
        bar.finish_and_clear();
    }
}
