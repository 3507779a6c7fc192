//! Pools: deliveries of one channel and one message type, kept apart so that a slow pool holds up no other.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_contract::MessageType;

/// A pool, by a small number that holds for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PoolId(pub(crate) u32);

/// What a pool is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) channel: String,
    pub(crate) message_type: MessageType,
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.channel, self.message_type.name())
    }
}

/// The pools seen so far. There are as many as channels × message types in use, and they are never forgotten.
#[derive(Debug, Default)]
pub(crate) struct Pools(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    ids: HashMap<String, [Option<PoolId>; 3]>,
    pools: Vec<Arc<Pool>>,
}

impl Pools {
    /// The number of a pool.
    pub(crate) fn id(&self, channel: &str, message_type: MessageType) -> PoolId {
        let slot = message_type as usize;
        if let Some(Some(id)) = self.0.read().ids.get(channel).map(|ids| ids[slot]) {
            return id;
        }
        let mut known = self.0.write();
        let next = PoolId(u32::try_from(known.pools.len()).unwrap_or(u32::MAX));
        let ids = known.ids.entry(channel.to_owned()).or_default();
        let id = *ids[slot].get_or_insert(next);
        if id == next {
            known.pools.push(Arc::new(Pool { channel: channel.to_owned(), message_type }));
        }
        id
    }

    /// What the pool is for.
    pub(crate) fn get(&self, id: PoolId) -> Option<Arc<Pool>> {
        self.0.read().pools.get(id.0 as usize).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_its_number_and_every_message_type_has_its_own() {
        let pools = Pools::default();
        let codes = pools.id("sms", MessageType::AuthCode);
        let campaigns = pools.id("sms", MessageType::Marketing);
        assert_ne!(codes, campaigns);
        assert_eq!(pools.id("sms", MessageType::AuthCode), codes);
        assert_eq!(pools.get(campaigns).map(|p| p.to_string()), Some("sms/marketing".to_owned()));
    }
}
