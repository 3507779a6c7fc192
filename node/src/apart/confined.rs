//! The inside of such a process: it bounds itself, and then answers what comes in until its input ends.

use std::io::{self, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc::rlim_t;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use tidings_actors::render::apart::{STACK, serve};

use super::child::{ARGUMENT, CONFINED, program};

/// Most memory that it may have beside its stack, in bytes.
const MEMORY: rlim_t = 256 * 1024 * 1024;
/// Most addresses that it may take: programs map far more than they use.
const ADDRESSES: rlim_t = 4 * 1024 * 1024 * 1024;
/// The processor's time that one answer may take, in whole seconds; it may get as much as one second more.
const SECONDS: rlim_t = 1;
/// Most files it may have open. It has three.
const FILES: rlim_t = 16;

/// Runs the process until its input ends.
///
/// # Errors
/// It cannot be confined, or the other side does not speak the protocol.
pub fn run(confined: bool) -> io::Result<()> {
    if !confined {
        // The allocator takes its share before the first line of this program runs; so it starts over within the limits.
        confine()?;
        let mut again = Command::new(program());
        again.arg(ARGUMENT).arg(CONFINED).env("MIMALLOC_ARENA_RESERVE", "0").env("MIMALLOC_PURGE_DELAY", "0");
        return Err(again.exec());
    }
    let thread = std::thread::Builder::new().name("render".to_owned()).stack_size(STACK);
    let thread = thread.spawn(|| {
        let mut input = BufReader::new(io::stdin().lock());
        let mut output = io::stdout().lock();
        serve(&mut input, &mut output, arm)?;
        output.flush()
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

fn confine() -> io::Result<()> {
    let stack = rlim_t::try_from(STACK).unwrap_or(rlim_t::MAX);
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_DATA, MEMORY + stack),
        (Resource::RLIMIT_AS, ADDRESSES),
        (Resource::RLIMIT_NOFILE, FILES),
        // It starts no further process and writes no file.
        (Resource::RLIMIT_FSIZE, 0),
    ] {
        setrlimit(resource, most, most)?;
    }
    // If memory runs out all the same, the kernel takes this process and not the node. It cannot be had everywhere.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Allows the time for one more answer.
fn arm() -> io::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = usage.user_time().tv_sec() + usage.system_time().tv_sec() + 1;
    let (_, hardest) = getrlimit(Resource::RLIMIT_CPU)?;
    setrlimit(Resource::RLIMIT_CPU, rlim_t::try_from(used).unwrap_or(0) + SECONDS, hardest)?;
    Ok(())
}
