//! `tidings dev`: one node for trying out.

use clap::Args;

use super::Context;
use super::failure::Failure;
use super::output::Out;
use super::serving::{Alone, Started, until_told};
use super::signals::Signals;

/// The arguments of `tidings dev`.
#[derive(Args)]
#[command(after_help = "The same directory can be used again and again. Stops at ctrl-c or SIGTERM.")]
pub(super) struct Dev {
    #[command(flatten)]
    alone: Alone,
}

impl Dev {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let started = self.alone.start().await?;
        context.out.line(welcome(&context.out, &started))?;
        until_told(started.running, Signals::new()?, None).await
    }
}

fn welcome(out: &Out, started: &Started) -> String {
    let (url, key) = (&started.url, started.key.expose());
    let curl = |method: &str, path: &str, body: &str| {
        format!(
            "curl -X {method} {url}{path} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  -d '{body}'"
        )
    };
    [
        facts(out, started),
        "An account, a template, and the first message:\n".to_owned(),
        curl("PUT", "/v1/accounts/sandbox", r#"{"provider":"sandbox","settings":{}}"#),
        curl(
            "PUT",
            "/v1/templates/hello",
            r#"{"channel":"sms","account":"sandbox","content":{"text":"Hello {{ name }}."}}"#,
        ),
        curl("POST", "/v1/messages", r#"{"template":"hello","to":["+8613800138000"],"variables":{"name":"Ada"}}"#),
        format!("\nWhat was sent:       tidings sandbox --follow{}", flag(url)),
        format!("What became of it:   tidings trace --template hello{}", flag(url)),
        "It runs until ctrl-c.".to_owned(),
    ]
    .join("\n")
}

/// Where the node is and how to ask it.
pub(super) fn facts(out: &Out, started: &Started) -> String {
    let (url, key) = (&started.url, started.key.expose());
    let kept = out.dim(&format!("(kept in {})", started.key_file.display()));
    format!(
        "{} {} runs.\n\n  API    {url}\n  Docs   {url}/docs\n  Key    {key}  {kept}\n",
        out.bold("Tidings"),
        env!("CARGO_PKG_VERSION")
    )
}

/// What to add to a command so that it finds the node.
pub(super) fn flag(url: &str) -> String {
    if url == super::DEFAULT_URL { String::new() } else { format!(" --url {url}") }
}
