//! A provider that does what a script says and remembers everything it saw.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tidings_contract::{
    Blame, Call, Channel, DeliveryId, Features, Material, Materials, MediaPlace, Outcome, ProviderInfo, Reason,
    Receipt, Secret, Sent, Target, Time, Token, Unsupported, Uploaded, VendorTemplate, fence, material_in,
};
use tidings_machine::control::{Account, Sealed};
use tokio::time::sleep;

use crate::{Accounts, Opened};

/// A provider whose calls carry one recipient each.
pub static ONE: ProviderInfo = info("fake/one", 1);
/// A provider whose calls carry up to ten recipients.
pub static MANY: ProviderInfo = info("fake/many", 10);

const fn info(name: &'static str, max_recipients: usize) -> ProviderInfo {
    ProviderInfo {
        name,
        channel: "*",
        doc: "Does what a script says.",
        source: "none",
        settings: &[],
        example: "{}",
        max_recipients,
        deadline: Duration::from_secs(10),
    }
}

/// What the provider does with one target.
#[derive(Clone, Debug)]
pub enum Step {
    /// Gives this outcome after that time.
    Give(Duration, Outcome),
    /// Never answers.
    Hang,
    /// Panics.
    Panic,
}

impl Step {
    /// Takes it at once.
    pub fn deliver() -> Self {
        Self::Give(Duration::ZERO, Outcome::Delivered { provider_id: Some("id".to_owned()) })
    }
}

/// One attempt as the provider saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which attempt it was told.
    pub attempt: u16,
    /// The recipient.
    pub to: String,
    /// The channel and message type of the call.
    pub pool: String,
    /// The content.
    pub content: Arc<Value>,
    /// When the call was made, by the node's clock.
    pub at: Time,
    /// Whether the provider took it.
    pub taken: bool,
    /// Whether the call was cut off before its end.
    pub cut: bool,
    /// How many targets its call carried.
    pub together: usize,
    /// With which account.
    pub account: String,
}

type Script = dyn Fn(&Call, &Target) -> Step + Send + Sync;

/// An account of the provider.
pub struct FakeChannel {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    under_way: Mutex<HashSet<DeliveryId>>,
    violations: Mutex<Vec<String>>,
    /// What an account gives for everything, instead of what the script says.
    broken: Mutex<HashMap<String, Outcome>>,
    abilities: Mutex<Option<Arc<dyn Abilities>>>,
    tokens: Mutex<Vec<(DeliveryId, Option<String>)>>,
    /// The materials that there are not any more, by id.
    deleted: Mutex<HashSet<String>>,
    /// How long a connection takes.
    connects: Mutex<Duration>,
    quiet: bool,
}

impl FakeChannel {
    /// A channel that does what `script` says.
    pub fn new(script: impl Fn(&Call, &Target) -> Step + Send + Sync + 'static) -> Self {
        Self {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            under_way: Mutex::default(),
            violations: Mutex::default(),
            broken: Mutex::default(),
            abilities: Mutex::default(),
            tokens: Mutex::default(),
            deleted: Mutex::default(),
            connects: Mutex::default(),
            quiet: false,
        }
    }

    /// A channel that takes everything at once and remembers nothing, to measure the rest.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::new(|_, _| Step::deliver()) }
    }

    /// Does what another script says from now on.
    pub fn follow(&self, script: impl Fn(&Call, &Target) -> Step + Send + Sync + 'static) {
        *self.script.lock() = Arc::new(script);
    }

    /// A connection takes so long from now on. When it is there, and before anything is seen, the fence around the call is asked.
    pub fn connects_for(&self, time: Duration) {
        *self.connects.lock() = time;
    }

    /// An account gives this outcome for everything from now on, or follows the script again.
    pub fn break_account(&self, account: &str, outcome: Option<Outcome>) {
        let mut broken = self.broken.lock();
        match outcome {
            Some(outcome) => broken.insert(account.to_owned(), outcome),
            None => broken.remove(account),
        };
    }

    /// Whether there is that material from now on; there is every one that was not deleted.
    pub fn delete_material(&self, id: &str, deleted: bool) {
        let mut all = self.deleted.lock();
        if deleted {
            all.insert(id.to_owned())
        } else {
            all.remove(id)
        };
    }

    /// The channel as an account of that name opens it.
    pub fn opened_as(self: &Arc<Self>, account: &str) -> Arc<dyn Channel> {
        Arc::new(Named(account.to_owned(), Arc::clone(self)))
    }

    /// Can do from now on what `abilities` can.
    pub fn able(&self, abilities: Arc<dyn Abilities>) {
        *self.abilities.lock() = Some(abilities);
    }

    fn abilities(&self) -> Option<Arc<dyn Abilities>> {
        self.abilities.lock().clone()
    }

    /// The access token that came with each attempt, in order.
    pub fn tokens(&self) -> Vec<(DeliveryId, Option<String>)> {
        self.tokens.lock().clone()
    }

    /// Everything it saw, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// What must never happen and did: a delivery attempted twice at a time.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    fn begin(&self, account: &str, call: &Call) -> usize {
        let mut seen = self.seen.lock();
        let first = seen.len();
        let token = call.token.as_ref().map(|token| token.expose().to_owned());
        self.tokens.lock().extend(call.targets.iter().map(|target| (target.delivery, token.clone())));
        for target in &call.targets {
            if !self.under_way.lock().insert(target.delivery) {
                self.violations.lock().push(format!("{} is attempted twice at a time", target.delivery));
            }
            seen.push(Seen {
                delivery: target.delivery,
                attempt: target.attempt,
                to: target.to.clone(),
                pool: format!("{}/{}", call.channel, call.message_type.name()),
                content: Arc::clone(&target.content),
                at: call.at,
                taken: false,
                cut: true,
                together: call.targets.len(),
                account: account.to_owned(),
            });
        }
        first
    }
}

/// Notices when a call is cut off.
struct UnderWay<'a>(&'a FakeChannel, &'a Call);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        self.1.targets.iter().for_each(|target| {
            under_way.remove(&target.delivery);
        });
    }
}

/// The channel as one account opens it.
#[derive(Debug)]
struct Named(String, Arc<FakeChannel>);

#[async_trait]
impl Channel for Named {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        self.1.send(&self.0, call).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        let abilities = self.1.abilities()?;
        abilities.fetch_token().await
    }

    fn calls_recipients(&self) -> bool {
        true
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        self.1.abilities().ok_or(Unsupported("recall"))?.recall(sent, token)
    }

    /// The field `media` of a content holds the supplier's id of a file.
    fn media(&self, content: &Value) -> Vec<MediaPlace> {
        let named = content.get("media").and_then(Value::as_str).and_then(material_in).and_then(Result::ok);
        let place = |material| MediaPlace { pointer: "/media".to_owned(), material, kind: "file" };
        named.map(place).into_iter().collect()
    }

    fn media_gone(&self, reason: &Reason) -> bool {
        reason.code == "bad_media"
    }

    async fn upload(
        &self,
        material: &Material,
        _kind: &str,
        token: Option<&Secret>,
    ) -> Result<Result<Uploaded, Outcome>, Unsupported> {
        let abilities = self.1.abilities().ok_or(Unsupported("upload"))?;
        Ok(abilities.upload(material, token).await)
    }

    async fn pull_receipts(&self, _token: Option<&Secret>) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        let abilities = self.1.abilities().filter(|abilities| abilities.pulls()).ok_or(Unsupported("pull_receipts"))?;
        // The way there; a question that is withdrawn before it arrives is none.
        sleep(Duration::from_millis(1)).await;
        Ok(abilities.pull_receipts())
    }

    async fn ask_receipts(
        &self,
        sent: &[Sent],
        _token: Option<&Secret>,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        let abilities = self.1.abilities().filter(|abilities| abilities.asks()).ok_or(Unsupported("ask_receipts"))?;
        Ok(if sent.is_empty() { Ok(Vec::new()) } else { abilities.ask_receipts(sent) })
    }

    async fn list_templates(
        &self,
        _at: Time,
        _token: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        let unsupported = Unsupported("list_templates");
        self.1.abilities().ok_or(unsupported)?.list_templates().await.ok_or(unsupported)
    }

    fn read_callback(
        &self,
        _headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        self.1.abilities().ok_or(Unsupported("read_callback"))?.read_callback(body)
    }
}

impl FakeChannel {
    async fn send(&self, account: &str, call: &Call) -> Vec<Outcome> {
        if self.quiet {
            return vec![Outcome::Delivered { provider_id: None }; call.targets.len()];
        }
        let connects = *self.connects.lock();
        if connects > Duration::ZERO {
            sleep(connects).await;
        }
        if fence().is_some_and(|fence| !fence.holds()) {
            return vec![Outcome::fenced(); call.targets.len()];
        }
        let first = self.begin(account, call);
        let _under_way = UnderWay(self, call);
        let script = Arc::clone(&self.script.lock());
        let mut outcomes = Vec::new();
        for (n, target) in call.targets.iter().enumerate() {
            let broken = self.broken.lock().get(account).cloned();
            match broken.map_or_else(|| script(call, target), |outcome| Step::Give(Duration::ZERO, outcome)) {
                Step::Give(after, outcome) => {
                    if after > Duration::ZERO {
                        sleep(after).await;
                    }
                    let mut seen = self.seen.lock();
                    seen[first + n].taken = matches!(outcome, Outcome::Delivered { .. });
                    seen[first + n].cut = false;
                    outcomes.push(outcome);
                }
                Step::Hang => std::future::pending().await,
                Step::Panic => panic!("the script says so"),
            }
        }
        outcomes
    }
}

impl std::fmt::Debug for FakeChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeChannel")
    }
}

/// An account of the provider with more abilities than sending: what each does is up to a test.
pub trait Abilities: Send + Sync + std::fmt::Debug {
    /// See [`Channel::fetch_token`].
    fn fetch_token(&self) -> BoxFuture<'_, Option<Result<Token, Reason>>> {
        Box::pin(std::future::ready(None))
    }

    /// See [`Channel::upload`].
    fn upload<'a>(
        &'a self,
        _material: &'a Material,
        _token: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Uploaded, Outcome>> {
        Box::pin(std::future::ready(Err(Outcome::never(Blame::Content, "no_uploads", "it takes no files"))))
    }

    /// See [`Channel::recall`].
    fn recall(&self, _sent: &Sent, _token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        Err(Unsupported("recall"))
    }

    /// Whether there is [`Abilities::pull_receipts`].
    fn pulls(&self) -> bool {
        false
    }

    /// See [`Channel::pull_receipts`].
    fn pull_receipts(&self) -> Result<Vec<Receipt>, Reason> {
        Ok(Vec::new())
    }

    /// Whether there is [`Abilities::ask_receipts`].
    fn asks(&self) -> bool {
        false
    }

    /// See [`Channel::ask_receipts`].
    fn ask_receipts(&self, _sent: &[Sent]) -> Result<Vec<Receipt>, Reason> {
        Ok(Vec::new())
    }

    /// See [`Channel::list_templates`]; nothing where there is no such thing.
    fn list_templates(&self) -> BoxFuture<'_, Option<Result<Vec<VendorTemplate>, Reason>>> {
        Box::pin(std::future::ready(None))
    }

    /// See [`Channel::read_callback`].
    fn read_callback(&self, _body: &[u8]) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Err(Unsupported("read_callback"))
    }
}

/// Has every material but the one whose id is all zeros.
#[derive(Debug)]
struct FakeMaterials(Arc<FakeChannel>);

#[async_trait]
impl Materials for FakeMaterials {
    async fn get(&self, id: &str) -> Result<Arc<Material>, Outcome> {
        if id.bytes().all(|byte| byte == b'0') || !self.is_known(id) {
            return Err(Outcome::never(Blame::Content, "unknown_material", "there is no such material"));
        }
        let (name, media_type) = (id.to_owned(), "text/plain".to_owned());
        Ok(Arc::new(Material { name, media_type, bytes: Arc::from(id.as_bytes()) }))
    }

    fn is_known(&self, id: &str) -> bool {
        !self.0.deleted.lock().contains(id)
    }
}

/// Opens every account of `fake/one` and `fake/many` to the same channel.
#[derive(Debug)]
pub struct FakeAccounts(pub Arc<FakeChannel>);

impl Accounts for FakeAccounts {
    fn open(&self, name: &str, account: &Account) -> Result<Opened, Reason> {
        let info = match account.provider.as_str() {
            "fake/one" | "webhook" => &ONE,
            "fake/many" => &MANY,
            other => return Err(Reason::new("no_provider", format!("there is no provider `{other}`"))),
        };
        let channel = self.0.opened_as(name);
        let features = Features::of(channel.as_ref());
        Ok(Opened { channel, info, features })
    }

    fn seal_token(&self, name: &str, token: &Secret) -> Result<Sealed, Reason> {
        Ok(Sealed(format!("sealed for {name}: {}", token.expose()).into_bytes()))
    }

    fn materials(&self) -> Option<Arc<dyn Materials>> {
        Some(Arc::new(FakeMaterials(Arc::clone(&self.0))))
    }

    fn unseal_token(&self, name: &str, sealed: &Sealed) -> Result<Secret, Reason> {
        let text = String::from_utf8_lossy(&sealed.0).into_owned();
        let open = text.strip_prefix(&format!("sealed for {name}: ")).map(Secret::new);
        open.ok_or_else(|| Reason::new("sealed", "for another account"))
    }
}
