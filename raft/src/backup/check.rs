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

#[cfg(test)]
mod tests {
    use tidings_contract::{Secret, Time};

    use super::super::format::{Begin, body_of, record};
    use super::*;

    const P0: GroupId = GroupId::Partition(PartitionId(0));

    /// A file of one partition's cluster with these sections; `true` ones are whole, the others were given up.
    fn file(sections: &[(GroupId, bool)]) -> Vec<u8> {
        let head = Head::new(("clu_1".into(), 1, 3), Time(7), &Secret::new("a secret of at least sixteen bytes"));
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        let add = |bytes: &mut Vec<u8>, frame: Frame| {
            let body = body_of(&frame).expect("it has a binary form");
            bytes.extend(record(&body).expect("it is small"));
            body
        };
        add(&mut bytes, Frame::Head(head));
        for (group, whole) in sections {
            let mut sum = Sum::default();
            sum.add(&add(&mut bytes, Frame::Begin(Begin { group: *group, machine: false, next: 0 })));
            add(&mut bytes, if *whole { Frame::End(sum.end(3, 1)) } else { Frame::Void });
        }
        let count = sections.iter().filter(|(_, whole)| *whole).count();
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
        add(&mut bytes, Frame::Last(Last { sections: u32::try_from(count).expect("few"), checksum }));
        bytes
    }

    fn look(bytes: &[u8]) -> Result<Summary, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.backup");
        std::fs::write(&path, bytes).expect("written");
        inspect(&path, &mut |_, _| {}).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_that_was_given_up_counts_for_nothing_and_the_whole_one_after_it_does() {
        let plain = look(&file(&[(P0, true), (GroupId::Control, true)])).expect("it is whole");
        let again =
            look(&file(&[(P0, false), (P0, false), (P0, true), (GroupId::Control, true)])).expect("it is whole");
        assert!(again.sections[&P0] > plain.sections[&P0], "the whole one is taken");
        assert_eq!(again.sections.len(), 2);
    }

    #[test]
    fn a_file_without_one_of_its_groups_or_with_one_twice_is_refused() {
        for (sections, words) in [
            (&[(P0, true)][..], "control is missing"),
            (&[(P0, false), (GroupId::Control, true)], "p0 is missing"),
            (&[(P0, true), (P0, true), (GroupId::Control, true)], "p0 is in it twice"),
            (&[(P0, true), (GroupId::Partition(PartitionId(1)), true), (GroupId::Control, true)], "does not have"),
        ] {
            let error = look(&file(sections)).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_version_of_the_future_is_told_as_such() {
        let mut bytes = file(&[(P0, true), (GroupId::Control, true)]);
        bytes[MAGIC.len()] = 9;
        assert!(look(&bytes).expect_err("it is of the future").contains("version 9; this program reads 1"));
    }
}
