//! The command line: reads what was typed, runs the one command it names, ends with an exit code.

mod account;
mod backup;
mod cancel;
mod client;
mod cluster;
mod config;
mod demo;
mod dev;
mod dlq;
mod document;
mod failure;
mod filter;
mod force_disk;
mod health;
mod kept;
mod key;
mod life;
mod log_bound;
mod logging;
mod material;
mod members;
mod node;
mod output;
mod pairs;
mod policy;
mod preview;
mod providers;
mod recall;
mod restore;
mod route;
mod sandbox;
mod send;
mod serving;
mod settling;
mod signals;
mod skip;
mod suppression;
mod template;
mod times;
mod trace;
mod waiting;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::stat::{Mode, umask};
use tidings_contract::Secret;

use client::Api;
use failure::Failure;
use output::Out;

/// Where a node answers unless somebody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:7400";
/// Where `tidings dev` keeps its data, and so where the key is looked for.
const DEFAULT_DATA: &str = "./data";
/// The file in a data directory that holds the first admin key.
const KEY_FILE: &str = "admin.key";

const ABOUT: &str = "Sends messages by SMS, mail, chat robot and webhook, and keeps the trace of every one";
const AFTER_HELP: &str = "\
Exit codes: 0 done · 1 refused, or did not come out as asked · 2 wrong usage · 3 the node cannot be reached.
Start here: `tidings demo`, or `tidings dev` and the lines it prints.";

/// What was typed.
#[derive(Parser)]
#[command(name = "tidings", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Everywhere {
    /// The node's API [default: http://127.0.0.1:7400]
    #[arg(long, global = true, env = "TIDINGS_URL", value_name = "URL", help_heading = "Everywhere")]
    url: Option<String>,
    /// The API key [default: for a node on this machine what `tidings dev` keeps in ./data/admin.key]
    #[arg(
        long,
        global = true,
        env = "TIDINGS_KEY",
        value_name = "KEY",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    key: Option<String>,
    /// Print the API's answer as it is
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run one node for trying out: data in a directory, a sandbox to send to, a key
    Dev(dev::Dev),
    /// Run a node of a cluster
    Node(node::Node),
    /// Run one node, send a first message, show what became of it, keep running
    Demo(demo::Demo),
    /// Send a message to one or many recipients
    Send(send::Send),
    /// Show what became of a delivery or a message, or find deliveries
    Trace(trace::Trace),
    /// Cancel a delivery or a message that has not been sent yet
    Cancel(cancel::Cancel),
    /// Take back what was sent, where its provider can; cancel what was not sent yet
    Recall(recall::Recall),
    /// Look after templates: what is said
    #[command(subcommand)]
    Template(template::Template),
    /// Look after materials: files that go with messages
    #[command(subcommand)]
    Material(material::Material),
    /// Look after accounts: with whom it is sent
    #[command(subcommand)]
    Account(account::Account),
    /// Look after policies: what must not go out, what must wait, and how often
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Look after the suppression list: addresses that nothing is sent to
    #[command(subcommand)]
    Suppression(suppression::Suppression),
    /// Look after routes: which of several accounts
    #[command(subcommand)]
    Route(route::Route),
    /// Look at dead letters and send them again
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Look after API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Found a cluster, let nodes join and leave, see how it stands
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Ask a node whether it is ready, or only alive
    Health(health::Health),
    /// Take a backup of the whole cluster into one file
    Backup(backup::Backup),
    /// Make the first node of a new cluster from a backup
    Restore(restore::Restore),
    /// Show the providers there are, or one with its settings and an example; declare further ones
    Providers(providers::Providers),
    /// Show what the sandbox was given to send
    Sandbox(sandbox::Sandbox),
    /// Check a configuration file, or print the defaults
    #[command(subcommand)]
    Config(config::Config),
    /// Fill templates for a node that started this process
    #[command(hide = true)]
    RenderApart {
        /// It has bounded itself
        #[arg(long)]
        confined: bool,
    },
}

/// What a command needs besides its own arguments.
struct Context {
    url: Option<String>,
    key: Option<Secret>,
    out: Out,
}

impl Context {
    /// The API of the node that was named, with the key that was given or found.
    fn api(&self) -> Result<Api, Failure> {
        let url = self.url.as_deref().unwrap_or(DEFAULT_URL);
        // The key that `dev` keeps is for a node on this machine; no other host gets to see it.
        let found = || if client::is_here(url) { stored_key(Path::new(DEFAULT_DATA)) } else { None };
        Api::new(url, self.key.clone().or_else(found))
    }
}

/// The key that `tidings dev` keeps in a data directory, if there is one.
fn stored_key(data: &Path) -> Option<Secret> {
    let text = std::fs::read_to_string(data.join(KEY_FILE)).ok()?;
    Some(text.trim()).filter(|key| !key.is_empty()).map(Secret::new)
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    // clap itself ends the process: 0 after help and version, 2 after wrong usage.
    let Cli { everywhere, command } = Cli::parse();
    // Whatever any command writes (the database, backups, keys, materials) is for its owner alone. sled makes its files itself.
    let _ = umask(Mode::from_bits_truncate(0o077));
    match command {
        // It has no use for what a command has, and is to have no more than it needs.
        Command::RenderApart { confined } => {
            return tidings_node::apart::run(confined).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        Command::Dev(_) | Command::Node(_) | Command::Demo(_) => tidings_node::apart::install(),
        _ => {}
    }
    let out = Out::new(everywhere.json);
    let key = everywhere.key.filter(|key| !key.is_empty()).map(Secret::new);
    let context = Context { url: everywhere.url.filter(|url| !url.is_empty()), key, out };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Failed(format!("the runtime does not start: {error}")).report(&context.out),
    };
    let result = runtime.block_on(Box::pin(run(command, &context)));
    // What still blocks after a command has ended must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&context.out),
    }
}

async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Dev(dev) => Box::pin(dev.run(context)).await,
        Command::Node(node) => Box::pin(node.run(context)).await,
        Command::Demo(demo) => Box::pin(demo.run(context)).await,
        Command::Config(config) => config.run(context),
        Command::Restore(restore) => {
            logging::quiet();
            Box::pin(restore.run(context)).await
        }
        other => {
            logging::quiet();
            Box::pin(ask(other, context)).await
        }
    }
}

/// The commands that talk to a node.
async fn ask(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Send(send) => send.run(context).await,
        Command::Trace(trace) => trace.run(context).await,
        Command::Cancel(cancel) => cancel.run(context).await,
        Command::Recall(recall) => recall.run(context).await,
        Command::Template(template) => template.run(context).await,
        Command::Material(material) => material.run(context).await,
        Command::Account(account) => account.run(context).await,
        Command::Route(route) => route.run(context).await,
        Command::Policy(policy) => policy.run(context).await,
        Command::Suppression(suppression) => suppression.run(context).await,
        Command::Dlq(dlq) => dlq.run(context).await,
        Command::Key(key) => key.run(context).await,
        Command::Cluster(cluster) => cluster.run(context).await,
        Command::Health(health) => health.run(context).await,
        Command::Backup(backup) => backup.run(context).await,
        Command::Providers(providers) => providers.run(context).await,
        Command::Sandbox(sandbox) => sandbox.run(context).await,
        Command::Dev(_)
        | Command::Node(_)
        | Command::Demo(_)
        | Command::Config(_)
        | Command::Restore(_)
        | Command::RenderApart { .. } => Ok(()),
    }
}
