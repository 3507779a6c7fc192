//! Looking up the addresses of hosts: a bounded number at a time, and each name once, however many wait for it.
//!
//! The system's resolver holds a thread for as long as a name server says nothing, which may be half a minute. Whoever
//! chooses names (a recipient's webhook) could so take all threads that may block, and others with them. Names that were
//! slow the last time have few places of their own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Most names that are looked up at once.
const AT_ONCE: usize = 32;
/// Most of them that were slow the last time.
const SLOW_AT_ONCE: usize = 8;
/// A look-up that took longer was slow.
const SLOW: Duration = Duration::from_secs(1);
/// Most names that are remembered as slow; then all are forgotten, which costs a slow look-up each.
const SLOW_NAMES: usize = 1_024;
/// How long a name waits for a place.
const WAITS: Duration = Duration::from_secs(3);

type Found = Result<Arc<[SocketAddr]>, Arc<str>>;
type Find = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The addresses of a host, with 0 as the port.
///
/// # Errors
/// What the system's resolver says; [`io::ErrorKind::TimedOut`] when no place came free in time.
pub(crate) async fn addresses(name: &str) -> io::Result<Arc<[SocketAddr]>> {
    static OURS: OnceLock<Lookups> = OnceLock::new();
    let ours = OURS.get_or_init(|| Lookups::new(Arc::new(|name| Ok((name, 0).to_socket_addrs()?.collect())), WAITS));
    ours.addresses(name).await
}

/// The look-ups of a process.
#[derive(Clone)]
struct Lookups(Arc<Inner>);

struct Inner {
    find: Find,
    waits: Duration,
    places: Arc<Semaphore>,
    slow_places: Arc<Semaphore>,
    slow: Mutex<HashSet<String>>,
    under_way: Mutex<HashMap<String, Shared<BoxFuture<'static, Found>>>>,
}

/// A look-up that is under way, until it is dropped.
struct UnderWay {
    lookups: Lookups,
    name: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.lookups.0.under_way.lock().remove(&self.name);
    }
}

impl Lookups {
    fn new(find: Find, waits: Duration) -> Self {
        Self(Arc::new(Inner {
            find,
            waits,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            slow_places: Arc::new(Semaphore::new(SLOW_AT_ONCE)),
            slow: Mutex::default(),
            under_way: Mutex::default(),
        }))
    }

    async fn addresses(&self, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        let found = {
            let mut under_way = self.0.under_way.lock();
            match under_way.get(name) {
                Some(found) => found.clone(),
                None => {
                    let found = self.begin(name);
                    under_way.insert(name.to_owned(), found.clone());
                    found
                }
            }
        };
        // It goes on when nobody waits any more: its thread would anyway.
        match timeout(self.0.waits * 4, found).await {
            Ok(found) => found.map_err(|why| io::Error::other(why.to_string())),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the name servers say nothing")),
        }
    }

    fn begin(&self, name: &str) -> Shared<BoxFuture<'static, Found>> {
        let entry = UnderWay { lookups: self.clone(), name: name.to_owned() };
        let task = tokio::spawn(async move {
            let found = entry.lookups.look_up(&entry.name).await;
            drop(entry);
            found
        });
        async move { task.await.unwrap_or_else(|_| Err("the look-up was given up".into())) }.boxed().shared()
    }

    async fn look_up(&self, name: &str) -> Found {
        let inner = &self.0;
        let full = || Arc::from("too many names are being looked up");
        let slow = inner.slow.lock().contains(name);
        let of_slow = if slow {
            let place = timeout(inner.waits, Arc::clone(&inner.slow_places).acquire_owned()).await;
            Some(place.map_err(|_| full())?)
        } else {
            None
        };
        let place = timeout(inner.waits, Arc::clone(&inner.places).acquire_owned()).await.map_err(|_| full())?;
        let (find, asked, began) = (Arc::clone(&inner.find), name.to_owned(), Instant::now());
        let found = tokio::task::spawn_blocking(move || {
            // The places are taken for as long as the thread is.
            let _places = (place, of_slow);
            find(&asked)
        });
        let mut found = std::pin::pin!(found);
        let in_time = timeout(SLOW, &mut found).await;
        self.note(name, in_time.is_err());
        let found = match in_time {
            Ok(found) => found,
            Err(_) => found.await,
        };
        tracing::trace!(name, took = ?began.elapsed(), "a name was looked up");
        found.map_err(|error| Arc::from(error.to_string()))?.map(Arc::from).map_err(|error| error.to_string().into())
    }

    fn note(&self, name: &str, is_slow: bool) {
        let mut slow = self.0.slow.lock();
        if !is_slow {
            slow.remove(name);
            return;
        }
        if slow.len() >= SLOW_NAMES {
            slow.clear();
        }
        slow.insert(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use parking_lot::Condvar;

    use super::*;

    /// A resolver whose name servers say nothing of names that begin with `dead`, until they are let go.
    #[derive(Default)]
    struct Silent {
        let_go: Mutex<bool>,
        changed: Condvar,
        looked: AtomicUsize,
    }

    impl Silent {
        fn find(self: &Arc<Self>) -> Find {
            let silent = Arc::clone(self);
            Arc::new(move |name| {
                silent.looked.fetch_add(1, Ordering::SeqCst);
                if name.starts_with("dead") {
                    let mut let_go = silent.let_go.lock();
                    while !*let_go {
                        silent.changed.wait(&mut let_go);
                    }
                    return Err(io::Error::other("no such host"));
                }
                Ok(vec![([192, 0, 2, 1], 0).into()])
            })
        }

        fn let_go(&self) {
            *self.let_go.lock() = true;
            self.changed.notify_all();
        }
    }

    /// Lets the threads go, also when the test fails: its runtime waits for them.
    struct AtTheEnd(Arc<Silent>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.let_go();
        }
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_name_is_looked_up_once_however_many_wait_for_it() {
        let silent = Arc::new(Silent::default());
        let _at_the_end = AtTheEnd(Arc::clone(&silent));
        let lookups = Lookups::new(silent.find(), SHORT);
        let found = join_all((0..100).map(|_| lookups.addresses("dead.example"))).await;
        assert!(found.iter().all(Result::is_err), "nobody waits for ever");
        assert_eq!(silent.looked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn names_of_dead_servers_take_so_many_threads_and_then_leave_most_places_to_others() {
        let silent = Arc::new(Silent::default());
        let _at_the_end = AtTheEnd(Arc::clone(&silent));
        let lookups = Lookups::new(silent.find(), SHORT);
        let dead: Vec<String> = (0..100).map(|n| format!("dead-{n}.example")).collect();
        let found = join_all(dead.iter().map(|name| lookups.addresses(name))).await;
        assert!(found.iter().all(Result::is_err));
        assert_eq!(silent.looked.load(Ordering::SeqCst), AT_ONCE, "no more threads than that");
        assert!(lookups.addresses("alive.example").await.is_err(), "and there is an answer all the same");
        silent.let_go();
        while !lookups.0.under_way.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *silent.let_go.lock() = false;
        for name in &dead {
            lookups.note(name, true);
        }
        silent.looked.store(0, Ordering::SeqCst);
        let asking = join_all(dead.iter().map(|name| lookups.addresses(name)));
        let alive = async {
            tokio::time::sleep(SHORT / 2).await;
            lookups.addresses("alive.example").await
        };
        let (_, alive) = tokio::join!(asking, alive);
        assert_eq!(
            alive.map(|found| found.len()).map_err(|e| e.to_string()),
            Ok(1),
            "a name that was quick goes first"
        );
        assert_eq!(silent.looked.load(Ordering::SeqCst), SLOW_AT_ONCE + 1);
    }
}
