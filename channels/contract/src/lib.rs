//! The nouns everyone shares, and the contract between Tidings and a provider.
//!
//! Nothing here does I/O, waits, reads a clock or draws a random number: ids take their time and chance as arguments.

mod account;
mod channel;
mod charge;
mod features;
mod fence;
mod id;
mod media;
mod outcome;
mod place;
mod planted;
mod provider;
mod secret;
mod text;
mod time;

pub use account::{AccountLimit, FieldError, LimitUnit, Setting, Settings};
pub use channel::{ChannelInfo, ContentField, Lane, MessageType, RecipientKind};
pub use charge::{Charge, Charged};
pub use features::Features;
pub use fence::{Fence, Fenced, fence, fenced};
pub use id::{BadId, DeliveryId, MessageId};
pub use media::{MediaPlace, Uploaded, material_in};
pub use outcome::{Blame, Outcome, Reason};
pub use place::{PartitionId, partition_of, stable_hash};
#[cfg(feature = "planted")]
pub use planted::plant;
pub use planted::planted;
pub use provider::{
    Call, Channel, Material, Materials, Provider, ProviderInfo, Receipt, ReceiptMark, Sent, Target, Token, Unsupported,
    VendorTemplate,
};
pub use secret::Secret;
pub use text::{LengthUnit, Markup, TextLimit, TextRule};
pub use time::{Clock, Time};
