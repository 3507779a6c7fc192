//! Reads a backup file from end to end before anybody believes it: every checksum, every section, nothing behind the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tidings_contract::PartitionId;
use xxhash_rust::xxh3::Xxh3;

use super::format::{AROUND, Frame, Head, Last, MAGIC, Sum, VERSION, damaged, frame_of, read_body};
use super::restore::RestoreError;
use crate::types::GroupId;

/// What a whole and undamaged backup file holds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What it is about.
    pub head: Head,
    /// How long the file is.
    pub bytes: u64,
    /// Where the section of each group begins.
    pub(super) sections: BTreeMap<GroupId, u64>,
}

/// Reads the whole file at `path` and tells what it holds. `progress` is told how many of how many bytes were read.
///
/// # Errors
/// See [`RestoreError`]: not a backup, of another version, damaged or cut short at which byte.
pub fn inspect(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Summary, RestoreError> {
    let unreadable = |error: io::Error| RestoreError::Unreadable { path: path.display().to_string(), why: error };
    let file = File::open(path).map_err(unreadable)?;
    let whole = file.metadata().map_err(unreadable)?.len();
    let mut reading = Reading { from: BufReader::with_capacity(1 << 20, file), at: 0, hash: Xxh3::new() };
    begins(&mut reading, path)?;
    let result = read_all(&mut reading, &mut |at| progress(at, whole));
    let (head, sections) = result.map_err(|error| reading.complain(&error))?;
    if reading.at != whole {
        return Err(reading.complain(&damaged("there is more behind the last record")));
    }
    Ok(Summary { head, bytes: whole, sections })
}

/// The magic and the version.
fn begins(reading: &mut Reading, path: &Path) -> Result<(), RestoreError> {
    let mut start = [0; MAGIC.len() + 4];
    let stranger = || RestoreError::NotABackup { path: path.display().to_string() };
    reading.from.read_exact(&mut start).map_err(|_| stranger())?;
    let (magic, version) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(stranger());
    }
    let found = <[u8; 4]>::try_from(version).map(u32::from_le_bytes).unwrap_or_default();
    if found != VERSION {
        return Err(RestoreError::Version { found, known: VERSION });
    }
    reading.hash.update(&start);
    reading.at = start.len() as u64;
    Ok(())
}

struct Reading {
    from: BufReader<File>,
    /// Where the next record begins.
    at: u64,
    hash: Xxh3,
}

impl Reading {
    fn complain(&self, error: &io::Error) -> RestoreError {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
            _ => error.to_string(),
        };
        RestoreError::Damaged { at: self.at, why }
    }

    /// The next record's body and frame. `hash` is then that of everything before the record.
    fn next(&mut self) -> io::Result<(Vec<u8>, Frame)> {
        let body = read_body(&mut self.from)?;
        let frame = frame_of(&body)?;
        Ok((body, frame))
    }

    /// Goes behind the record whose body this is.
    fn pass(&mut self, body: &[u8]) -> io::Result<()> {
        self.hash.update(&super::format::record(body).map_err(io::Error::other)?);
        self.at += (body.len() + AROUND) as u64;
        Ok(())
    }
}

type Found = (Head, BTreeMap<GroupId, u64>);

fn read_all(reading: &mut Reading, progress: &mut dyn FnMut(u64)) -> io::Result<Found> {
    let (body, Frame::Head(head)) = reading.next()? else { return Err(damaged("there is no head")) };
    reading.pass(&body)?;
    let mut sections = BTreeMap::new();
    loop {
        progress(reading.at);
        let (body, frame) = reading.next()?;
        match frame {
            Frame::Begin(begin) => {
                let at = reading.at;
                if is_whole(reading, &body)? && sections.insert(begin.group, at).is_some() {
                    return Err(damaged(format!("{} is in it twice", begin.group)));
                }
            }
            Frame::Last(last) => {
                ends(reading, &last, &head, &sections)?;
                reading.pass(&body)?;
                return Ok((head, sections));
            }
            _ => return Err(damaged("a record stands outside of any section")),
        }
    }
}

/// Reads a section to its end; whether it is one, or was given up.
fn is_whole(reading: &mut Reading, begin: &[u8]) -> io::Result<bool> {
    let mut sum = Sum::default();
    sum.add(begin);
    reading.pass(begin)?;
    loop {
        let (body, frame) = reading.next()?;
        match frame {
            Frame::Piece(_) | Frame::Entry(_) => sum.add(&body),
            Frame::End(end) if end == sum.end(end.index, end.term) => {
                reading.pass(&body)?;
                return Ok(true);
            }
            Frame::End(_) => return Err(damaged("a section does not match its checksum")),
            Frame::Void => {
                reading.pass(&body)?;
                return Ok(false);
            }
            _ => return Err(damaged("a section has no end")),
        }
        reading.pass(&body)?;
    }
}

fn ends(reading: &Reading, last: &Last, head: &Head, sections: &BTreeMap<GroupId, u64>) -> io::Result<()> {
    if last.checksum != reading.hash.digest() {
        return Err(damaged("the file does not match its checksum"));
    }
    let partitions = (0..head.partitions).map(|number| GroupId::Partition(PartitionId(number)));
    let groups: Vec<GroupId> = partitions.chain([GroupId::Control]).collect();
    if let Some(missing) = groups.iter().find(|group| !sections.contains_key(group)) {
        return Err(damaged(format!("{missing} is missing")));
    }
    if groups.len() != sections.len() || usize::try_from(last.sections).ok() != Some(sections.len()) {
        return Err(damaged("it holds groups that its cluster does not have"));
    }
    Ok(())
}

/// The records of one section, once more; each is checked again.
pub(super) struct Records {
    from: BufReader<File>,
}

impl Records {
    pub(super) fn of(path: &Path, at: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { from: BufReader::with_capacity(1 << 20, file) })
    }

    pub(super) fn next(&mut self) -> io::Result<Frame> {
        frame_of(&read_body(&mut self.from)?)
    }
}
