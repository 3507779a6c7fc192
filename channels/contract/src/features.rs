//! What an opened account can do beside sending: found out by putting each question to it once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::{Channel, Time, Unsupported};

/// What an opened account can do beside sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Its supplier wants an access token.
    pub wants_token: bool,
    /// Its supplier tells later what became of what it took: it calls back, or is asked.
    pub reports: bool,
    /// It is asked for whatever receipts it has.
    pub pulls: bool,
    /// It is asked about single deliveries.
    pub asks: bool,
    /// It calls the recipient's own URL.
    pub calls_recipients: bool,
}

impl Features {
    /// Puts every question once and withdraws it: what is not there is said at once. One that went out meanwhile would cost a
    /// token that nobody keeps, or take receipts that nobody reads; so whoever calls this has closed the door to the world.
    /// A provider that panics can do nothing; that costs its own calls only.
    pub fn of(channel: &dyn Channel) -> Self {
        let asked = || {
            let wants_token = !matches!(at_once(channel.fetch_token_at(Time(0))), Some(None));
            let asks = !matches!(at_once(channel.ask_receipts(&[], None)), Some(Err(Unsupported(_))));
            let pulls = !matches!(at_once(channel.pull_receipts_at(None, Time(0))), Some(Err(Unsupported(_))));
            let reports = asks || pulls || channel.read_callback(&[], &[], Time(0)).is_ok();
            Self { wants_token, reports, pulls, asks, calls_recipients: channel.calls_recipients() }
        };
        catch_unwind(AssertUnwindSafe(asked)).unwrap_or_default()
    }
}

/// What comes without waiting.
fn at_once<T>(question: impl Future<Output = T>) -> Option<T> {
    match pin!(question).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}
