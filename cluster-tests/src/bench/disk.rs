//! How often this disk makes 4 KiB durable in a second: the ground that every other figure stands on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Proof, When};

/// Appends 4 KiB and calls fdatasync, again and again for `time`; gives the count a second.
///
/// # Errors
/// When the disk refuses.
pub fn syncs_per_second(dir: &Path, time: Duration) -> Proof<u64> {
    let mut file = File::create(dir.join("sync-probe")).when("making a file")?;
    let block = [7u8; 4_096];
    let began = Instant::now();
    let mut count = 0u64;
    while began.elapsed() < time {
        file.write_all(&block).when("appending")?;
        file.sync_data().when("syncing")?;
        count += 1;
    }
    Ok(crate::report::rate(count, began.elapsed()))
}
