//! The control machine: what operators decide, and which node holds what.

mod access;
mod account;
mod apply;
mod audit;
mod breaker;
mod cluster;
mod command;
mod content;
mod departures;
mod health;
mod key;
mod leaders;
mod material;
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
pub use departures::Departures;
pub use key::{ApiKey, Role};
pub use material::Material;
pub use policy::{Policies, Policy, PolicySpec, PolicyVersion, Selector};
pub use route::{Route, RouteAccount, RouteSpec, RouteVersion, Routes};
pub use state::Control;
pub use template::{Dedup, Rendering, Template, TemplateSpec, TemplateVersion, TooLong, WordsChoice, WordsMode};
pub use words::{WordList, WordPart};
