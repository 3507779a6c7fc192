//! Materials: kept in pieces at their home partition, put together and checked when they are wanted, remembered for a while.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tidings_contract::{Blame, Material, Materials, Outcome, PartitionId};
use tidings_machine::control::{self, Action, Material as Known, Refusal};
use tidings_machine::partition::{Chunk, Command};
use tokio::sync::Semaphore;

use crate::api::refused;
use crate::app::{App, Shared};
use crate::look::ChunkOf;
use crate::problem::{Code, Problem};

/// Most bytes of materials that are remembered put together.
const REMEMBERED: usize = 64 * 1024 * 1024;
/// Most materials that come in at once: each is held in memory until it is kept.
const COMING_IN: usize = 4;
/// Most materials that are put together at once.
const ASSEMBLED: usize = 16;
/// How often a material is put that somebody deletes meanwhile.
const PUT_AGAIN: usize = 5;

/// The materials, as this node hands them out.
pub(crate) struct Shelf {
    app: OnceLock<Weak<App>>,
    /// The ones handed out last, the newest at the end.
    remembered: Mutex<VecDeque<(String, Arc<Material>)>>,
    pub(crate) coming_in: Semaphore,
    /// Held while a material is put together; one id always has the same one.
    assembling: [tokio::sync::Mutex<()>; ASSEMBLED],
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            app: OnceLock::new(),
            remembered: Mutex::default(),
            coming_in: Semaphore::new(COMING_IN),
            assembling: Default::default(),
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("remembered", &self.remembered.lock().len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Materials for Shelf {
    async fn get(&self, id: &str) -> Result<Arc<Material>, Outcome> {
        let app = self.app.get().and_then(Weak::upgrade);
        let app = app.ok_or_else(|| Outcome::later("material", "the node is starting or stopping"))?;
        match app.material(id).await {
            Ok(Some(material)) => Ok(material),
            Ok(None) => Err(Outcome::never(Blame::Content, "unknown_material", format!("there is no material {id}"))),
            Err(problem) => Err(Outcome::later("material", problem.code().title())),
        }
    }

    fn is_known(&self, id: &str) -> bool {
        let app = self.app.get().and_then(Weak::upgrade);
        // Before the node has started nobody sends; `get` says so if anybody does.
        app.is_some_and(|app| app.ledger.control(|control| control.materials.contains_key(id)))
    }
}

impl Shelf {
    /// Says where the materials are; before that there are none.
    pub(crate) fn stand_in(&self, app: &Shared) {
        drop(self.app.set(Arc::downgrade(app)));
    }

    fn recall(&self, id: &str) -> Option<Arc<Material>> {
        let mut remembered = self.remembered.lock();
        let at = remembered.iter().position(|(known, _)| known == id)?;
        let found = remembered.remove(at)?;
        let material = Arc::clone(&found.1);
        remembered.push_back(found);
        Some(material)
    }

    fn remember(&self, id: &str, material: &Arc<Material>) {
        let mut remembered = self.remembered.lock();
        remembered.retain(|(known, _)| known != id);
        let mut room = REMEMBERED.saturating_sub(material.bytes.len());
        let fits = remembered
            .iter()
            .rev()
            .take_while(|(_, material)| room.checked_sub(material.bytes.len()).map(|left| room = left).is_some());
        let stay = fits.count();
        let too_many = remembered.len() - stay;
        remembered.drain(..too_many);
        remembered.push_back((id.to_owned(), Arc::clone(material)));
    }

    /// Forgets one that was removed.
    pub(crate) fn forget(&self, id: &str) {
        self.remembered.lock().retain(|(known, _)| known != id);
    }
}

/// The id of a material with these bytes.
pub(crate) fn id_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which of the locks is for a material: ids are hashes, so they spread.
fn stripe(id: &str) -> usize {
    id.bytes().map(usize::from).sum::<usize>() % ASSEMBLED
}

impl App {
    /// The partition that keeps the bytes of a material.
    pub(crate) fn material_home(&self, id: &str) -> PartitionId {
        Known::home(id, self.ledger.control(|c| c.cluster.as_ref().map_or(1, |cluster| cluster.partitions)))
    }

    /// What is known of a material, also of one that another node put here a moment ago.
    ///
    /// # Errors
    /// Whatever makes control unreachable.
    pub(crate) async fn known_material(&self, id: &str) -> Result<Option<Known>, Problem> {
        let look = || self.ledger.control(|c| c.materials.get(id).cloned());
        if let Some(known) = look() {
            return Ok(Some(known));
        }
        self.fresh_control().await?;
        Ok(look())
    }

    /// Those of `ids` that are no materials. However many they are, control is asked once for what is not known here.
    ///
    /// # Errors
    /// Whatever makes control unreachable.
    pub(crate) async fn unknown_materials(&self, ids: &BTreeSet<&String>) -> Result<BTreeSet<String>, Problem> {
        let look = || {
            self.ledger.control(|c| {
                let missing = ids.iter().filter(|id| !c.materials.contains_key(id.as_str()));
                missing.map(|id| (*id).clone()).collect::<BTreeSet<_>>()
            })
        };
        if look().is_empty() {
            return Ok(BTreeSet::new());
        }
        self.fresh_control().await?;
        Ok(look())
    }

    /// A material with its bytes; `None` if there is no such material.
    ///
    /// # Errors
    /// `no_leader` when its home cannot be asked, `internal` when the bytes are not what they were.
    pub(crate) async fn material(self: &Shared, id: &str) -> Result<Option<Arc<Material>>, Problem> {
        let Some(known) = self.known_material(id).await? else { return Ok(None) };
        let named = |material: &Material| material.name == known.name && material.media_type == known.media_type;
        if let Some(material) = self.shelf.recall(id).filter(|material| named(material)) {
            return Ok(Some(material));
        }
        // However many want it at once, it is put together once.
        let _turn = self.shelf.assembling[stripe(id)].lock().await;
        if let Some(material) = self.shelf.recall(id).filter(|material| named(material)) {
            return Ok(Some(material));
        }
        let home = self.material_home(id);
        let mut bytes = Vec::with_capacity(usize::try_from(known.bytes).unwrap_or(0));
        for index in 0..known.chunks {
            let question = ChunkOf { home, material: Known::place(id, known.kept_as), index };
            let piece = self.ask(home, question).await;
            let piece = piece.map_err(|_| Problem::new(Code::NoLeader, format!("{home} cannot be asked")))?;
            bytes.extend(STANDARD.decode(piece).map_err(|e| Problem::new(Code::Internal, e.to_string()))?);
        }
        if self.heavy.run(bytes.len(), || id_of(&bytes)).await != id {
            return Err(Problem::new(Code::Internal, format!("the bytes of material {id} are not what they were")));
        }
        let Known { name, media_type, .. } = known;
        let material = Arc::new(Material { name, media_type, bytes: bytes.into() });
        self.shelf.remember(id, &material);
        Ok(Some(material))
    }

    /// Has a material kept: first its bytes, by a majority of its home, and then what it is. If it is deleted between the two,
    /// its bytes are kept anew, where the deletion does not reach them.
    ///
    /// # Errors
    /// What control refuses, `no_leader`, `full` or `timeout`. Doing it again does no harm.
    pub(crate) async fn keep_material(
        &self,
        by: &str,
        id: &str,
        pieces: Vec<Vec<u8>>,
        material: Known,
    ) -> Result<(), Problem> {
        let pieces: Vec<Arc<[u8]>> = pieces.into_iter().map(Arc::from).collect();
        for _ in 0..PUT_AGAIN {
            let (known, kept_as) = self.ledger.control(|c| (c.materials.get(id).cloned(), c.material_place(id)));
            let chunks = self.keep_bytes(id, &Known::place(id, kept_as), &pieces).await?;
            let material = Box::new(Known { chunks, kept_as, ..material.clone() });
            match self.ledger.change(by, Action::PutMaterial { id: id.to_owned(), material }).await? {
                control::Answer::Refused(Refusal::Stale) => self.fresh_control().await?,
                control::Answer::Refused(refusal) => return Err(refused(refusal)),
                _ => {
                    // Bytes of before there were numbers have moved to one.
                    if let Some(known) = known.filter(|known| known.kept_as != kept_as) {
                        self.drop_bytes(id, known.kept_as).await;
                    }
                    return Ok(());
                }
            }
        }
        Err(Problem::new(Code::Conflict, format!("the material {id} is being deleted over and over")))
    }

    /// Has the pieces of a material kept by a majority of its home; gives the number of pieces.
    async fn keep_bytes(&self, id: &str, place: &str, pieces: &[Arc<[u8]>]) -> Result<u32, Problem> {
        let home = self.material_home(id);
        let mut count = 0;
        for piece in pieces {
            let chunk = Chunk { material: place.to_owned(), index: count, bytes: Arc::clone(piece) };
            self.ledger.propose(home, vec![Command::KeepChunk(Box::new(chunk))]).await?;
            count += 1;
        }
        Ok(count)
    }

    /// Has the bytes dropped that stand under that number. Nobody finds them any more; if their home cannot be asked now, they
    /// only take room.
    pub(crate) async fn drop_bytes(&self, id: &str, kept_as: u64) {
        let drop_bytes = vec![Command::DropMaterial { material: Known::place(id, kept_as) }];
        if let Err(why) = self.ledger.propose(self.material_home(id), drop_bytes).await {
            tracing::warn!(id, ?why, "the bytes of a removed material are left behind");
        }
    }
}
