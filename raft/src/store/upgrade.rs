//! Brings a disk of an older version up to this program's, step by step.
//!
//! A step must do no harm when it is done twice: the version is written only when all of the step is durable, so a node
//! that dies in the middle begins the step again.

use super::rewrite;
use crate::base::sled;
use crate::error::OpenError;

/// The layout this program reads and writes. Whoever changes it adds the step from the version before to [`STEPS`], and
/// a data directory of that version to `cluster-tests/upgrade`.
pub(crate) const VERSION: u32 = 4;

/// One step of the database, from a version to a later one.
pub(crate) struct Step {
    from: u32,
    to: u32,
    take: fn(&sled::Db) -> Result<(), OpenError>,
}

/// The steps there are, in order of where they begin; there is one from every version before [`VERSION`].
const STEPS: &[Step] = &[
    // Archives without blocks are read as they are; only a program of version 1 could not read the blocks.
    Step { from: 1, to: 2, take: |_| Ok(()) },
    // Structs of the machines have more fields than they had. Whatever they had, they are written as they are now.
    Step { from: 2, to: VERSION, take: |db| rewrite::rewrite(db, 2) },
    Step { from: 3, to: VERSION, take: |db| rewrite::rewrite(db, 3) },
];

/// Brings `db`, which has the version `found`, to [`VERSION`]. Blocks.
///
/// # Errors
/// `Version` for one of the future, `TooOld` where no step begins, `Database` when the disk fails.
pub(crate) fn bring_up(db: &sled::Db, found: u32) -> Result<(), OpenError> {
    climb(db, found, VERSION, STEPS)?;
    rewrite::forget(db).map_err(Into::into)
}

/// Whether this program knows what to do with a disk of the version `found`.
///
/// # Errors
/// `Version` for one of the future, `TooOld` where no step begins.
pub(crate) fn check(found: u32) -> Result<(), OpenError> {
    known(found, VERSION, STEPS)
}

fn known(found: u32, wanted: u32, steps: &[Step]) -> Result<(), OpenError> {
    let oldest = steps.first().map_or(wanted, |step| step.from);
    match found {
        _ if found > wanted => Err(OpenError::Version { found: found.to_string(), known: wanted }),
        _ if found < oldest => Err(OpenError::TooOld { found, oldest }),
        _ => Ok(()),
    }
}

fn climb(db: &sled::Db, found: u32, wanted: u32, steps: &[Step]) -> Result<(), OpenError> {
    known(found, wanted, steps)?;
    let mut version = found;
    while let Some(Step { to, take, .. }) = steps.iter().find(|step| step.from == version && version < wanted) {
        tracing::info!(from = version, to, "the disk is brought to a later version");
        take(db)?;
        db.flush()?;
        write_version(db, *to)?;
        db.flush()?;
        version = *to;
    }
    Ok(())
}

/// Says which version the database has.
pub(crate) fn write_version(db: &sled::Db, version: u32) -> Result<(), OpenError> {
    db.open_tree("meta")?.insert("version", &version.to_be_bytes())?;
    Ok(())
}

/// The version the database has; `None` for a new one.
///
/// # Errors
/// `Version` when what is there is no number.
pub(crate) fn version_of(db: &sled::Db) -> Result<Option<u32>, OpenError> {
    let Some(found) = db.open_tree("meta")?.get("version")? else { return Ok(None) };
    let number = <[u8; 4]>::try_from(&*found).map(u32::from_be_bytes);
    number.map(Some).map_err(|_| OpenError::Version { found: format!("{found:?}"), known: VERSION })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, sled::Db) {
        let dir = tempfile::tempdir().expect("a directory");
        let db = sled::Config::new().path(dir.path()).segment_size(1 << 20).open().expect("a database");
        (dir, db)
    }

    fn note(db: &sled::Db, step: &str) -> Result<(), OpenError> {
        let done = db.get("done")?.map(|d| String::from_utf8_lossy(&d).into_owned()).unwrap_or_default();
        db.insert("done", format!("{done}{step} ").into_bytes())?;
        Ok(())
    }

    fn two_to_four(db: &sled::Db) -> Result<(), OpenError> {
        note(db, "2-4")
    }

    fn three_to_four(db: &sled::Db) -> Result<(), OpenError> {
        note(db, "3-4")
    }

    fn four_to_five(db: &sled::Db) -> Result<(), OpenError> {
        note(db, "4-5")
    }

    const LADDER: &[Step] = &[
        Step { from: 2, to: 4, take: two_to_four },
        Step { from: 3, to: 4, take: three_to_four },
        Step { from: 4, to: 5, take: four_to_five },
    ];

    #[test]
    fn every_step_is_made_once_and_in_order() {
        for (found, done) in [(2, "2-4 4-5 "), (3, "3-4 4-5 "), (4, "4-5 "), (5, "")] {
            let (_dir, db) = database();
            write_version(&db, found).expect("written");
            climb(&db, found, 5, LADDER).expect("it is brought up");
            let made = db.get("done").expect("read").map(|d| d.to_vec()).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&made), done, "from {found}");
            assert_eq!(version_of(&db).expect("read"), Some(5));
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_where_it_was() {
        let (_dir, db) = database();
        write_version(&db, 3).expect("written");
        let broken = |_: &sled::Db| Err(sled::Error::Unsupported("no".into()).into());
        let steps = [Step { from: 3, to: 4, take: three_to_four }, Step { from: 4, to: 5, take: broken }];
        assert!(climb(&db, 3, 5, &steps).is_err());
        assert_eq!(version_of(&db).expect("read"), Some(4));
        climb(&db, 4, 5, LADDER).expect("the rest is made the next time");
        assert_eq!(version_of(&db).expect("read"), Some(5));
    }

    #[test]
    fn a_version_of_the_future_and_one_too_old_are_refused_and_nothing_is_touched() {
        let (_dir, db) = database();
        write_version(&db, 9).expect("written");
        let future = climb(&db, 9, 5, LADDER).expect_err("it is of the future");
        assert!(future.to_string().contains("disk version 9"), "{future}");
        let old = climb(&db, 1, 5, LADDER).expect_err("it is too old");
        assert!(old.to_string().contains("disk version 1; this program brings up versions from 2"), "{old}");
        assert_eq!(version_of(&db).expect("read"), Some(9));
        assert!(db.get("done").expect("read").is_none());
    }

    #[test]
    fn there_is_a_step_from_every_version_but_the_newest_one() {
        let from: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        let oldest = from.first().copied().unwrap_or(VERSION);
        assert_eq!(from, (oldest..VERSION).collect::<Vec<_>>());
        assert!(STEPS.iter().all(|step| (step.from + 1..=VERSION).contains(&step.to)), "each goes up");
    }
}
