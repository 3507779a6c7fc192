//! The contract: what a provider tells about itself, and what an opened account can be asked to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Charge, Charged, DeliveryId, FieldError, MediaPlace, MessageType, Outcome, Reason, Secret, Setting, Settings, Time,
    Uploaded,
};

/// What a provider tells about itself; the source of `tidings providers` and of the docs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProviderInfo {
    /// The name typed in accounts: `email/smtp`, `dingtalk_robot`, `sandbox` …
    pub name: &'static str,
    /// The channel it serves; `*` for one that serves all.
    pub channel: &'static str,
    /// What it is, in one sentence.
    pub doc: &'static str,
    /// The vendor's page that decides the protocol: its title, or the RFC.
    pub source: &'static str,
    /// The settings of its accounts.
    pub settings: &'static [Setting],
    /// A complete `settings` object that an account accepts as it is.
    pub example: &'static str,
    /// Most recipients that one call may carry.
    pub max_recipients: usize,
    /// Longest time one call may take before its end counts as unknown.
    pub deadline: Duration,
}

/// The code that speaks one supplier's protocol for a channel. It keeps nothing; an opened account does.
pub trait Provider: Send + Sync + fmt::Debug {
    /// What it tells about itself.
    fn info(&self) -> &'static ProviderInfo;

    /// Checks `settings` and makes the account ready to send. Touches neither disk nor network.
    ///
    /// # Errors
    /// One per wrong setting.
    fn open(&self, account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>>;
}

/// One recipient of a call.
#[derive(Clone, Debug)]
pub struct Target {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which attempt this is, counted from 1.
    pub attempt: u16,
    /// The address, in the form of the channel's `RecipientKind`.
    pub to: String,
    /// The rendered content: the template's `content` with every placeholder filled for this recipient.
    pub content: Arc<Value>,
    /// Which message of the delivery this is, from 0: a text that is too long for one goes out as several.
    pub part: u16,
}

impl Target {
    /// What names this message to a supplier that drops repeats: the same in every attempt, another one for each part,
    /// so that the second part is not dropped as a repeat of the first.
    pub fn repeat_id(&self) -> String {
        match self.part {
            0 => self.delivery.to_string(),
            part => format!("{}-{}", self.delivery, part + 1),
        }
    }
}

/// One call to a provider.
#[derive(Clone, Debug)]
pub struct Call {
    /// The channel of the template; tells a provider that serves many which one is meant.
    pub channel: String,
    /// What the message is for.
    pub message_type: MessageType,
    /// The wall time at which the call is made; signatures and dates use it.
    pub at: Time,
    /// Everyone the call is for: never empty, never more than `max_recipients`.
    pub targets: Vec<Target>,
    /// The account's access token, if the account has a token source. The host keeps and renews it for the cluster.
    pub token: Option<Secret>,
    /// Where the materials are that contents name, if the host keeps any.
    pub materials: Option<Arc<dyn Materials>>,
}

/// The files that contents refer to by id.
#[async_trait]
pub trait Materials: Send + Sync + fmt::Debug {
    /// The file of that id.
    ///
    /// # Errors
    /// `Later` when it cannot be read now, `Never` when there is none.
    async fn get(&self, id: &str) -> Result<Arc<Material>, Outcome>;

    /// Whether there is such a file as far as is known here and now, without asking anybody. A no may be late: then
    /// [`Materials::get`] tells, and the next answer is right.
    fn is_known(&self, _id: &str) -> bool {
        true
    }
}

/// An account, opened: what can be asked of a supplier.
///
/// Every method may be dropped at any await; the host then counts the attempt as unknown.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Sends. Gives one outcome per target, in the order of the targets.
    ///
    /// Whatever happens after the first byte of the request went out and before the answer was understood is
    /// [`Outcome::Unknown`]; what certainly never reached the supplier is [`Outcome::Later`].
    async fn send(&self, call: &Call) -> Vec<Outcome>;

    /// The same, with what the supplier charges for each target, where its answer says so; what the host calls.
    async fn send_charged(&self, call: &Call) -> Vec<Charged> {
        self.send(call).await.into_iter().map(Charged::from).collect()
    }

    /// How to fetch an access token, for suppliers that want one. `None`: no token is needed; that is said at once, before
    /// anything is awaited, because every account that is opened is asked (see [`crate::Features`]).
    ///
    /// An outcome whose reason code is [`Token::INVALID`] makes the host drop the token and fetch another.
    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        None
    }

    /// The same for suppliers that want a signature over the time: the host asks this one, at the wall time `at`.
    async fn fetch_token_at(&self, _at: Time) -> Option<Result<Token, Reason>> {
        self.fetch_token().await
    }

    /// Whether a recipient is a URL and is called itself. Then what its server does, or does not, speaks for or against that
    /// server, and nothing of the account.
    fn calls_recipients(&self) -> bool {
        false
    }

    /// Takes a sent delivery back.
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier has no such thing.
    async fn recall(&self, _sent: &Sent, _token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        Err(Unsupported("recall"))
    }

    /// Where a content names materials in the places of the supplier's ids of files. The host has each of them uploaded by
    /// [`Channel::upload`], keeps the ids for the cluster, and puts them into these places before it calls `send`.
    fn media(&self, _content: &Value) -> Vec<MediaPlace> {
        Vec::new()
    }

    /// Whether the reason of a refusal means that the supplier does not know the id of a file (any more). If the host put an
    /// id into that message, it then drops the id and has the file uploaded again.
    fn media_gone(&self, _reason: &Reason) -> bool {
        false
    }

    /// Uploads a material, as what [`MediaPlace::kind`] says, and gives the supplier's id of it. A failure has the class of
    /// an attempt's outcome; an upload may be repeated, so `Unknown` is as good as `Later` here.
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier has no such thing.
    async fn upload(
        &self,
        _material: &Material,
        _kind: &str,
        _token: Option<&Secret>,
    ) -> Result<Result<Uploaded, Outcome>, Unsupported> {
        Err(Unsupported("upload"))
    }

    /// Asks the supplier for receipts it has since the last call. That there is no such thing is said before anything is
    /// awaited: every account that is opened is asked (see [`crate::Features`]).
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier calls back instead, or reports nothing.
    async fn pull_receipts(&self, _token: Option<&Secret>) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Err(Unsupported("pull_receipts"))
    }

    /// The same for suppliers whose requests are signed with the time; what the host calls.
    ///
    /// # Errors
    /// See [`Channel::pull_receipts`].
    async fn pull_receipts_at(
        &self,
        token: Option<&Secret>,
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        self.pull_receipts(token).await
    }

    /// Asks the supplier what became of these deliveries, which it took within the last day. That there is no such thing is
    /// said before anything is awaited, also for no deliveries and without a token: every account that is opened is asked (see
    /// [`crate::Features`]).
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier cannot be asked about single deliveries.
    async fn ask_receipts(
        &self,
        _sent: &[Sent],
        _token: Option<&Secret>,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Err(Unsupported("ask_receipts"))
    }

    /// Lists the templates that the supplier has approved for this account, for people to pick from.
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier has no templates or does not tell.
    async fn list_templates(
        &self,
        _at: Time,
        _token: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        Err(Unsupported("list_templates"))
    }

    /// Verifies and reads a callback of the supplier's.
    ///
    /// Beside the headers of the request, whose names are in lower case, the host gives `:method` and `:path`, which has
    /// the query string. Whether there are callbacks at all must not depend on what is given.
    ///
    /// # Errors
    /// [`Unsupported`] where the supplier never calls back.
    fn read_callback(
        &self,
        _headers: &[(String, String)],
        _body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Err(Unsupported("read_callback"))
    }

    /// What the supplier wants to hear when its callback was kept: the media type and the body of a 200. Anything else
    /// makes it call again.
    fn callback_answer(&self) -> (&'static str, &'static str) {
        ("text/plain", "")
    }
}

/// An access token of a supplier's.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// How long it is good for.
    pub expires_in: Duration,
}

impl Token {
    /// The reason code with which a channel says that the token it was given is no longer good.
    pub const INVALID: &'static str = "token_invalid";
}

/// A template that a supplier has approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VendorTemplate {
    /// The supplier's id of it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its text, with placeholders in the supplier's form.
    pub content: String,
    /// What it may look like when it is filled; empty if the supplier does not say.
    pub example: String,
}

/// A delivery that a supplier took, named the supplier's way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The recipient.
    pub to: String,
    /// The supplier's id of it.
    pub provider_id: String,
}

/// A file that goes with a message, or is uploaded before it can be sent.
#[derive(Clone, Debug)]
pub struct Material {
    /// The file's name.
    pub name: String,
    /// Its media type (RFC 6838).
    pub media_type: String,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// What a supplier reports later about something it took.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The supplier's id, as given with the outcome.
    pub provider_id: String,
    /// The recipient, where one id covers several.
    pub to: Option<String>,
    /// What happened.
    pub mark: ReceiptMark,
    /// The supplier's words.
    pub reason: Option<Reason>,
    /// When, by the supplier's clock.
    pub at: Option<Time>,
    /// Whether it came back because there is no such recipient any more; see [`Blame::Gone`](crate::Blame::Gone).
    pub gone: bool,
    /// What the supplier charged, if the receipt says so.
    pub charge: Option<Charge>,
}

impl Receipt {
    /// That `mark` happened to what has this id, and nothing else.
    pub fn new(provider_id: impl Into<String>, mark: ReceiptMark) -> Self {
        Self { provider_id: provider_id.into(), to: None, mark, reason: None, at: None, gone: false, charge: None }
    }
}

/// What can happen to a delivery after the supplier took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptMark {
    /// It reached the device or the mailbox.
    Received,
    /// It came back.
    Bounced,
    /// It was opened.
    Read,
    /// A link in it was followed.
    Clicked,
}

impl ReceiptMark {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Bounced => "bounced",
            Self::Read => "read",
            Self::Clicked => "clicked",
        }
    }
}

/// The supplier has no such thing; names what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this provider has no {0}")]
pub struct Unsupported(pub &'static str);
