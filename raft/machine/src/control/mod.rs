//! The control machine: what operators decide, and which node holds what.

mod access;
mod account;
mod apply;
mod audit;
mod breaker;
mod cluster;
mod command;
mod content;
mod declared;
mod departures;
mod health;
mod key;
mod leaders;
mod membership;
mod placement;
mod policy;
mod restored;
mod route;
mod routing;
mod ruling;
mod state;
mod template;
mod words;

pub use account::{Account, Sealed};
pub use audit::AuditEntry;
pub use breaker::{Breaker, Breakers, Probe, Standing};
pub use cluster::{Cluster, NodeInfo, ZONE};
pub use command::{Action, Answer, Command, Refusal};
pub use declared::{DeclaredProvider, DeclaredProviders, ProviderSpec, ProviderVersion};
pub use departures::Departures;
pub use key::{ApiKey, Role};
pub use policy::{Policies, Policy, PolicySpec, PolicyVersion, Selector};
pub use route::{Route, RouteAccount, RouteSpec, RouteVersion, Routes};
pub use state::Control;
pub use template::{Dedup, Template, TemplateSpec, TemplateVersion, WordsChoice, WordsMode};
pub use words::{WordList, WordPart};
