//! Sections on their way to the node that writes the backup: it asks for them, a bounded number of records at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::give::{Given, give};
use crate::error::ProposeError;
use crate::group::AnyGroup;
use crate::ledgers::Inner;
use crate::types::GroupId;

/// Most sections under way at once on a node.
const SECTIONS: usize = 4;
/// A section that nobody went on with is given up.
const IDLE: Duration = Duration::from_secs(60);
/// Records read ahead; each is a piece of 128 KiB or an entry.
const AHEAD: usize = 4;
/// About how many bytes are handed out at once.
const BATCH: usize = 512 * 1024;
/// How long this replica may take to have applied what its group had committed.
const FRESH: Duration = Duration::from_secs(5);
/// How long the next record may take to be read.
const NEXT: Duration = Duration::from_secs(20);

/// What is asked about a section.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Begin one; answered with its number.
    Begin,
    /// The next records of that one.
    Next(u64),
}

/// The answer to [`Ask::Begin`]: the number, or where else to ask.
pub(super) type Begun = Result<u64, ProposeError>;

/// Sections that are being handed out by this node.
#[derive(Default)]
pub(crate) struct Departures {
    open: Mutex<HashMap<u64, Departure>>,
}

struct Departure {
    touched: Instant,
    records: Arc<tokio::sync::Mutex<mpsc::Receiver<Given>>>,
}

impl Departures {
    fn open(&self, group: Arc<dyn AnyGroup>) -> Begun {
        let mut open = self.open.lock();
        open.retain(|_, departure| departure.touched.elapsed() < IDLE && !departure.ended());
        if open.len() >= SECTIONS {
            return Err(ProposeError::Full("too many backups are taken from this node at once".into()));
        }
        let (to, records) = mpsc::channel(AHEAD);
        let runtime = Handle::current();
        drop(tokio::task::spawn_blocking(move || give(&group, &runtime, to)));
        let number = rand::random();
        let records = Arc::new(tokio::sync::Mutex::new(records));
        open.insert(number, Departure { touched: Instant::now(), records });
        Ok(number)
    }

    /// The next records; none behind the last one.
    async fn next(&self, number: u64) -> Result<Vec<Bytes>, String> {
        let records = {
            let mut open = self.open.lock();
            let departure = open.get_mut(&number).ok_or("this section was given up")?;
            departure.touched = Instant::now();
            Arc::clone(&departure.records)
        };
        let mut records = records.lock().await;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH {
            let next = if batch.is_empty() {
                timeout(NEXT, records.recv()).await.map_err(|_| "the next record could not be read in time")?
            } else {
                records.try_recv().ok()
            };
            match next {
                Some(Ok(body)) => {
                    bytes += body.len();
                    batch.push(Bytes::from(body));
                }
                Some(Err(why)) => return Err(why),
                None => break,
            }
        }
        if batch.is_empty() {
            self.open.lock().remove(&number);
        }
        Ok(batch)
    }

    /// Gives up everything that is under way.
    pub(crate) fn close(&self) {
        self.open.lock().clear();
    }
}

impl Departure {
    /// Whether everything was given and taken.
    fn ended(&self) -> bool {
        self.records.try_lock().is_ok_and(|records| records.is_closed() && records.is_empty())
    }
}

impl Inner {
    /// Begins a section of a group that is led here, with everything that was committed when this was called.
    pub(super) async fn begin_section(&self, id: GroupId) -> Begun {
        let needed = self.read_index(id).await?;
        let group = self.group(id).ok_or(ProposeError::NotLeader { leader: None })?;
        let mut applied = group.applied();
        let fresh = timeout(FRESH, applied.wait_for(|applied| *applied >= needed)).await;
        if !matches!(fresh, Ok(Ok(_))) {
            return Err(ProposeError::Refused(format!("{id} has not applied what it committed")));
        }
        self.departures.open(group)
    }

    /// The next records of a section that was begun here.
    pub(super) async fn next_records(&self, number: u64) -> Result<Vec<Bytes>, String> {
        self.departures.next(number).await
    }

    /// Answers another node that writes a backup.
    pub(crate) async fn answer_backup(&self, body: &[u8]) -> Result<Bytes, String> {
        let (id, ask) = crate::codec::decode(body).map_err(|e| format!("unreadable question: {e}"))?;
        let encoded = match ask {
            Ask::Begin => crate::codec::encode(&self.begin_section(id).await),
            Ask::Next(number) => crate::codec::encode(&self.next_records(number).await?),
        };
        encoded.map(Bytes::from).map_err(|e| e.to_string())
    }
}
