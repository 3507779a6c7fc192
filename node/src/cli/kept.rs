//! What the commands about everything that operators keep (accounts, templates, routes, policies, declared providers) have in
//! common: list it, show it, write it from a file, remove it.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, rows};
use super::{Context, document};

/// One kind of what operators keep.
pub(super) struct Kept {
    /// One of them, in words.
    pub(super) one: &'static str,
    /// Where they are under `/v1/`, which is also the field of the answer that lists them.
    pub(super) many: &'static str,
    /// What is shown of each in a list.
    pub(super) columns: &'static [Column],
    /// What `get` tells beside the thing itself; a file may have been made from it, and `put` leaves it out.
    pub(super) told: &'static [&'static str],
    /// What is said of one that was deleted.
    pub(super) gone: &'static str,
}

/// Which one to show.
#[derive(Args)]
pub(super) struct Shown {
    /// Its name
    pub(super) name: String,
    /// An older version
    #[arg(long = "at", value_name = "VERSION")]
    pub(super) version: Option<u32>,
}

/// What to write.
#[derive(Args)]
pub(super) struct Written {
    /// Its name [default: `name` in the file]
    name: Option<String>,
    /// A JSON or TOML file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Kept {
    pub(super) async fn list(&self, context: &Context) -> Result<(), Failure> {
        let nothing = format!("There are no {}.", self.many);
        self.table(context, &["v1", self.many], &nothing).await
    }

    pub(super) async fn versions(&self, context: &Context, name: &str) -> Result<(), Failure> {
        self.table(context, &["v1", self.many, name, "versions"], "There are no versions.").await
    }

    async fn table(&self, context: &Context, path: &[&str], nothing: &str) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        let reply = api.ask(Ask::get(path)).await?;
        out.answer(&reply, |value| out.table(rows(value, self.many), self.columns, nothing))
    }

    pub(super) async fn get(&self, context: &Context, Shown { name, version }: Shown) -> Result<(), Failure> {
        let reply = context.api()?.ask(Ask::get(&["v1", self.many, &name]).query("version", version)).await?;
        context.out.answer(&reply, pretty)
    }

    pub(super) async fn put(&self, context: &Context, Written { name, file }: Written) -> Result<(), Failure> {
        self.put_spec(context, name, document::read(&file)?, false).await
    }

    /// Writes what was read already; `confirm` if it may stop everything.
    pub(super) async fn put_spec(
        &self,
        context: &Context,
        name: Option<String>,
        mut spec: Map<String, Value>,
        confirm: bool,
    ) -> Result<(), Failure> {
        let name = document::name(name, &mut spec)?;
        spec.retain(|field, _| !self.told.contains(&field.as_str()));
        let path = ["v1", self.many, &name];
        let ask = Ask::put(&path, Value::Object(spec)).query("confirm", confirm.then_some(true));
        let reply = context.api()?.ask(ask).await?;
        context.out.answer(&reply, |value| match &value["version"] {
            Value::Null => format!("{} {name} is written", self.one),
            version => format!("{} {name} is at version {version}", self.one),
        })
    }

    pub(super) async fn delete(&self, context: &Context, name: &str) -> Result<(), Failure> {
        let reply = context.api()?.ask(Ask::delete(&["v1", self.many, name])).await?;
        context.out.answer(&reply, |_| format!("{} {name} {}", self.one, self.gone))
    }
}

/// JSON over several lines, as it would be edited. JSON escapes control characters by itself.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
