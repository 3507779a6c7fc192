//! Claims an idempotency key at its home, and pins the message to what the key was first used for.

use std::sync::Arc;

use tidings_contract::{Time, partition_of, stable_hash};
use tidings_machine::partition::{Answer, Claim, Claimed, Command, Header, Refusal};
use tokio::time::Instant;

use super::check::{Checked, check};
use super::fingerprints::fingerprint;
use super::keep::{End, insist};
use super::request::Submission;
use super::rules::rule;
use super::{Compiled, Plan};
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Code, Problem};

/// What a claim is made with.
#[derive(Debug)]
pub(super) struct Claiming<'a> {
    pub submission: &'a Submission<'a>,
    pub compiled: Arc<Compiled>,
    pub key: &'a str,
    pub body: &'a [u8],
    pub partitions: u16,
    pub caller: &'a Caller,
}

/// Advice where no further key can be kept, in milliseconds.
const KEYS_MS: u64 = 60_000;

/// Claims the key; gives the plan to be carried out and whether the key was claimed before.
pub(super) async fn claim(
    app: &App,
    claiming: Claiming<'_>,
    checked: Checked,
    now: Time,
    deadline: Instant,
) -> Result<(Plan, bool), Problem> {
    let key = format!("{}/{}", claiming.caller.key_id, claiming.key);
    let home = partition_of(&key, claiming.partitions);
    let plan = Plan::new(app.new_message(now, home), now, claiming.partitions, checked);
    let body_hash = stable_hash(claiming.body) ^ stable_hash(b"/v1/messages");
    let until = now.max(app.latest()).after_ms(app.limits().idempotency_ms);
    let command = Command::Claim(Box::new(Claim { key, body_hash, header: plan.header(), until }));
    let answer = match insist(app, home, &command, deadline).await {
        End::Kept(answer) => answer,
        lost => return Err(lost.problem()),
    };
    match answer {
        Answer::Claimed(Claimed::Fresh) => Ok((plan, false)),
        // Our own claim, whose first answer was lost.
        Answer::Claimed(Claimed::Again(header)) if header.message == plan.message => Ok((plan, false)),
        Answer::Claimed(Claimed::Again(header)) => Ok((repeat(app, &claiming, &header).await?, true)),
        Answer::Claimed(Claimed::OtherBody(message)) => {
            Err(Problem::new(Code::IdempotencyMismatch, format!("the key was used with another body, for {message}")))
        }
        Answer::Refused(Refusal::Full) => {
            // They run out with the time for which keys are remembered, one after another.
            let full = Problem::new(Code::Full, format!("{home} holds as many idempotency keys as it may"));
            Err(full.come_back_in(KEYS_MS))
        }
        other => Err(Problem::new(Code::Internal, format!("the claim was answered {other:?}"))),
    }
}

/// The plan of the message that the key was first used for: its id, its time, its version of the template.
async fn repeat(app: &App, claiming: &Claiming<'_>, header: &Header) -> Result<Plan, Problem> {
    let compiled = if header.version == claiming.compiled.version.version {
        Arc::clone(&claiming.compiled)
    } else {
        app.template_version(&header.template, header.version)?
    };
    let mut checked = check(app, claiming.submission, &compiled, &claiming.caller.key_id, header.accepted_at)?;
    fingerprint(app, &compiled, &mut checked).await?;
    rule(app, &compiled, &mut checked, header.accepted_at).await?;
    Ok(Plan::new(header.message, header.accepted_at, claiming.partitions, checked))
}
