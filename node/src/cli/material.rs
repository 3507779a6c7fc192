//! `tidings material`: files that contents refer to.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Context;
use super::client::{Api, Ask};
use super::failure::Failure;
use super::kept::pretty;
use super::output::{Column, rows};

const LIST: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("MEDIA TYPE", "/media_type"),
    ("BYTES", "/bytes"),
    ("CREATED (UTC)", "/created_at"),
    ("BY", "/created_by"),
];

/// Media types by the end of a file's name (IANA: Media types).
const TYPES: &[(&str, &str)] = &[
    ("amr", "audio/amr"),
    ("csv", "text/csv"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("gif", "image/gif"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("webp", "image/webp"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("zip", "application/zip"),
];

/// The commands of `tidings material`.
#[derive(Subcommand)]
pub(super) enum Material {
    /// List the materials
    List,
    /// Show a material, or save its bytes
    Get {
        /// Its id
        id: String,
        /// Save its bytes in this file; there must be none yet
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Put a file into the cluster; its id is the SHA-256 of its bytes
    #[command(visible_alias = "add")]
    Put {
        /// The file
        file: PathBuf,
        /// What it is called [default: the file's name]
        #[arg(long)]
        name: Option<String>,
        /// Its media type [default: by the end of its name]
        #[arg(long, value_name = "TYPE")]
        media_type: Option<String>,
    },
    /// Remove a material that no template names
    Delete {
        /// Its id
        id: String,
    },
}

impl Material {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => {
                let reply = api.ask(Ask::get(&["v1", "materials"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "materials"), LIST, "There are no materials."))
            }
            Self::Get { id, output: None } => {
                let reply = api.ask(Ask::get(&["v1", "materials", &id])).await?;
                out.answer(&reply, pretty)
            }
            Self::Get { id, output: Some(to) } => {
                let bytes = save(&api, &id, &to).await?;
                out.line(format!("{} has {bytes} bytes", to.display()))
            }
            Self::Put { file, name, media_type } => {
                let bytes = std::fs::read(&file).map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
                let name = name.or_else(|| file.file_name().map(|name| name.to_string_lossy().into_owned()));
                let name = name.ok_or_else(|| Failure::Usage("--name is needed".to_owned()))?;
                let media_type = media_type.unwrap_or_else(|| by_name(&name).to_owned());
                let reply = api.upload(&["v1", "materials"], &name, &media_type, bytes).await?;
                out.answer(&reply, |value| format!("{name} is material {}", value["id"].as_str().unwrap_or_default()))
            }
            Self::Delete { id } => {
                let reply = api.ask(Ask::delete(&["v1", "materials", &id])).await?;
                out.answer(&reply, |_| format!("material {id} is removed"))
            }
        }
    }
}

fn by_name(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or(String::new(), |(_, end)| end.to_ascii_lowercase());
    TYPES.iter().find(|(known, _)| *known == end).map_or("application/octet-stream", |(_, media_type)| media_type)
}

async fn save(api: &Api, id: &str, to: &Path) -> Result<usize, Failure> {
    let failed = |what: String| Failure::Failed(format!("{}: {what}", to.display()));
    let mut download = api.download(&["v1", "materials", id, "content"]).await?;
    let mut file = std::fs::File::create_new(to).map_err(|e| Failure::Usage(format!("{}: {e}", to.display())))?;
    let mut bytes = 0;
    while let Some(chunk) = download.next().await.map_err(|failure| failed(failure.to_string()))? {
        file.write_all(&chunk).map_err(|e| failed(e.to_string()))?;
        bytes += chunk.len();
    }
    file.sync_all().map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}
