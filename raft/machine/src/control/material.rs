//! Materials: files that contents refer to. Control knows what they are; their bytes stand in the archive of their home.

use serde::{Deserialize, Serialize};
use tidings_contract::{PartitionId, Time, partition_of};

use super::apply::Change;
use super::{Answer, Control, Refusal};

/// Most materials.
const MOST_MATERIALS: usize = 10_000;

/// A file, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// In how many chunks they stand in the archive of its home.
    pub chunks: u32,
    /// When it was put here first.
    pub created_at: Time,
    /// By which API key.
    pub created_by: String,
    /// Which number its bytes stand under at its home, see [`Material::place`]. 0 is what there was before numbers.
    #[serde(default)]
    pub kept_as: u64,
}

impl Material {
    /// Most bytes of one chunk: a command stays well inside a log entry.
    pub const CHUNK: usize = 96 * 1024;

    /// The partition that keeps the bytes of the material `id`.
    pub fn home(id: &str, partitions: u16) -> PartitionId {
        partition_of(id, partitions)
    }

    /// The name under which the home of the material `id` keeps its bytes.
    pub fn place(id: &str, kept_as: u64) -> String {
        match kept_as {
            0 => id.to_owned(),
            number => format!("{id}.{number}"),
        }
    }
}

impl Control {
    /// The number under which the bytes of the material `id` are to be kept by whoever puts it now. Of one that is known it is
    /// the number that it has. Every deletion makes another number of it: bytes that are dropped late are never those of a
    /// material that was put again meanwhile.
    pub fn material_place(&self, id: &str) -> u64 {
        match self.materials.get(id) {
            Some(known) if known.kept_as != 0 => known.kept_as,
            _ => self.materials_deleted + 1,
        }
    }

    /// Makes a material known whose bytes are kept. The same bytes are the same material: its name may change. Bytes that
    /// stand under a number of before a deletion may be gone by now, so that they must be kept anew.
    pub(super) fn put_material(&mut self, id: String, material: Material, by: &str) -> Result<Change, Refusal> {
        // Commands of before numbers have none.
        if material.kept_as != 0 && material.kept_as != self.material_place(&id) {
            return Err(Refusal::Stale);
        }
        let known = self.materials.get(&id);
        if known.is_none() && self.materials.len() >= MOST_MATERIALS {
            return Err(Refusal::TooMany(MOST_MATERIALS as u64));
        }
        let kept_as = known.map_or(0, |known| known.kept_as).max(material.kept_as);
        let same = |known: &Material| {
            known.name == material.name && known.media_type == material.media_type && known.kept_as == kept_as
        };
        if known.is_some_and(same) {
            return Ok(Change::None(Answer::Done));
        }
        let created_at = known.map_or(self.now, |known| known.created_at);
        self.materials.insert(id, Material { created_at, created_by: by.to_owned(), kept_as, ..material });
        Ok(Change::Made(Answer::Done))
    }

    /// Only the newest versions of templates hold a material: those of messages on their way may lose it.
    pub(super) fn delete_material(&mut self, id: &str) -> Result<Change, Refusal> {
        if !self.materials.contains_key(id) {
            return Err(Refusal::NotFound);
        }
        let names = |content: &str| content.to_ascii_lowercase().contains(id);
        let user = self.templates.iter().find(|(_, t)| t.current().is_some_and(|current| names(&current.spec.content)));
        if let Some((template, _)) = user {
            return Err(Refusal::InUse(template.clone()));
        }
        self.materials.remove(id);
        self.materials_deleted += 1;
        Ok(Change::Made(Answer::Done))
    }
}
