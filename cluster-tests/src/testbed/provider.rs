//! The provider double in its container, asked over HTTP what it has counted.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::receiver::{Arrival, Counts, Report, Seen};
use crate::{Proof, When};

/// Where nodes of the testbed reach it.
pub const INSIDE: &str = "http://receiver:8080";

/// The provider double as it is seen from this machine.
#[derive(Clone, Debug)]
pub struct Provider {
    url: String,
    client: Client,
}

impl Provider {
    /// The one published at `host:port`.
    pub fn at(published: &str) -> Self {
        Self { url: format!("http://{published}"), client: Client::new("") }
    }

    /// How much it has counted.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn counts(&self) -> Proof<Counts> {
        self.client.get(&format!("{}/counts", self.url)).await
    }

    /// Waits until nothing has come for `quiet`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn wait_quiet(&self, quiet: Duration) -> Proof {
        let mut last = (self.counts().await?.calls, Instant::now());
        while last.1.elapsed() < quiet {
            tokio::time::sleep(quiet / 10).await;
            let calls = self.counts().await?.calls;
            if calls != last.0 {
                last = (calls, Instant::now());
            }
        }
        Ok(())
    }

    /// Everything it has seen, with its times brought to this process's clock.
    ///
    /// # Errors
    /// When it does not answer, or saw something longer ago than this machine runs.
    pub async fn seen(&self) -> Proof<Seen> {
        let report: Report = self.client.get(&format!("{}/seen", self.url)).await?;
        let now = Instant::now();
        let mut seen = Seen { calls: report.calls, wrong: report.wrong, ..Seen::default() };
        for (id, n, ages) in report.arrivals {
            let copies: Option<Vec<_>> = ages.iter().map(|us| now.checked_sub(Duration::from_micros(*us))).collect();
            seen.arrivals.insert(id, Arrival { n, copies: copies.when("reading when a copy came")? });
        }
        Ok(seen)
    }
}
