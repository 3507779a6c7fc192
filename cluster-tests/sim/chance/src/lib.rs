//! Answers the operating system's calls for randomness from a seed, in the simulation's process only.
//!
//! The one crate here that uses unsafe code, so that all others can forbid it. openraft's election timeouts, tokio's
//! `select!`, the hash seeds of the standard library and every `rand::random` ask `getrandom(2)` in the end: some through
//! the C symbol `getrandom`, some through `syscall`. A program that defines these two symbols itself is asked instead of
//! libc. No library has another way to be told a seed, and each would need its own.

#![allow(unsafe_code, reason = "a C symbol can be replaced only by defining one; see above")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);
static SEEDED: AtomicBool = AtomicBool::new(false);

/// From now on every draw of this process follows from `seed`.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
    SEEDED.store(true, Ordering::Relaxed);
}

/// One step of SplitMix64.
fn next() -> u64 {
    let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The C function of that name: fills `buffer` from the seed; before there is one, from the operating system.
///
/// # Safety
/// As of the C function: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    if !SEEDED.load(Ordering::Relaxed) {
        // SAFETY: the arguments are the caller's.
        return unsafe {
            forward(libc::SYS_getrandom, [buffer as i64, length as i64, i64::from(flags), 0, 0, 0]) as isize
        };
    }
    if length > 0 {
        // SAFETY: the caller promises room for `length` bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
        }
    }
    length as isize
}

/// The C function of that name: `getrandom(2)` is answered from the seed, every other call goes on to libc.
///
/// # Safety
/// As of the C function. Calls with fewer arguments leave rest in registers that the callee does not look at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 {
    if number == libc::SYS_getrandom && SEEDED.load(Ordering::Relaxed) {
        // SAFETY: the arguments are those of getrandom(2).
        return unsafe { getrandom(a as *mut libc::c_void, b as usize, c as u32) as i64 };
    }
    // SAFETY: the arguments are the caller's.
    unsafe { forward(number, [a, b, c, d, e, f]) }
}

/// libc's own `syscall`.
unsafe fn forward(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut found = NEXT.load(Ordering::Relaxed);
    if found == 0 {
        // SAFETY: the name ends with a zero byte.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) } as u64;
        NEXT.store(found, Ordering::Relaxed);
    }
    // SAFETY: libc has a function of this name and type.
    let next: unsafe extern "C" fn(i64, ...) -> i64 = unsafe { std::mem::transmute(found as *const ()) };
    // SAFETY: the arguments are the caller's.
    unsafe { next(number, a, b, c, d, e, f) }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn hash_keys_follow_from_the_seed() {
        let draw = || {
            std::thread::spawn(|| {
                super::seed(7);
                RandomState::new().hash_one(1)
            })
            .join()
            .expect("it draws")
        };
        assert_eq!(draw(), draw());
    }
}
