//! How much memory the control groups of this process leave it: versions 1 and 2, nested, and both at once.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a hierarchy with the memory controller is mounted, and what of it.
struct Mount {
    /// Its place below the root that is looked at.
    at: PathBuf,
    /// The group that is seen at that place; `/` where all are.
    root: String,
    version_2: bool,
}

/// The files that limit the memory of a group (Linux kernel documentation: "Memory Resource Controller" for version 1,
/// "Control Group v2" for version 2; above `memory.high` a group is throttled, above `memory.max` it is killed).
const FILES_1: [&str; 1] = ["memory.limit_in_bytes"];
const FILES_2: [&str; 2] = ["memory.max", "memory.high"];

/// The smallest limit of memory that holds for this process, in bytes: its own group's, or that of a group around it. `root` is
/// `/`, or a directory that looks like it.
pub(crate) fn memory_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let limits = mounts.lines().filter_map(mount).filter_map(|mount| {
        let own = groups.lines().find_map(|line| group(line, mount.version_2))?;
        smallest(root, &mount, own)
    });
    limits.min()
}

/// A mount of a hierarchy that may limit memory (proc_pid_mountinfo(5)): `36 35 0:30 /root /point opts … - type source super`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut kinds = after.split(' ');
    let version_2 = match kinds.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let controllers = kinds.nth(1).unwrap_or_default();
    let counts_memory = version_2 || controllers.split(',').any(|name| name == "memory");
    let at = PathBuf::from(point.trim_start_matches('/'));
    counts_memory.then(|| Mount { at, root: root.to_owned(), version_2 })
}

/// The group of this process, from a line of `/proc/self/cgroup` (cgroups(7)): `5:memory:/a/b`, or `0::/a/b` for version 2.
fn group(line: &str, version_2: bool) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let fits = match version_2 {
        true => number == "0" && controllers.is_empty(),
        false => controllers.split(',').any(|name| name == "memory"),
    };
    fits.then_some(path)
}

/// The smallest limit from the group `own` up to the top of what is mounted.
fn smallest(root: &Path, mount: &Mount, own: &str) -> Option<u64> {
    // A container sees its own group at the top of the mount, whatever the group is called outside.
    let below = match mount.root.as_str() {
        "/" => own,
        seen => own.strip_prefix(seen).unwrap_or("/"),
    };
    let top = root.join(&mount.at);
    let names: Vec<&str> = below.split('/').filter(|name| !name.is_empty() && *name != "..").collect();
    let files = if mount.version_2 { &FILES_2[..] } else { &FILES_1[..] };
    let groups = (0..=names.len()).map(|depth| names[..depth].iter().fold(top.clone(), |path, name| path.join(name)));
    let limits = groups.flat_map(|group| files.iter().map(move |file| group.join(file)));
    // "max" is no number, and no limit.
    limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "30 29 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const ONE: &str = "35 32 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                       36 32 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// A root with these groups, mounts and files, and the limit that is found there.
    fn found(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a directory can be made");
        let kept = [("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)];
        for (path, text) in kept.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        memory_limit(root.path())
    }

    #[test]
    fn in_version_2_the_smallest_limit_up_to_the_top_wins() {
        let files = [
            ("sys/fs/cgroup/a/memory.max", "4000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/c/memory.max", "9000\n"),
        ];
        assert_eq!(found("0::/a/b/c\n", TWO, &files), Some(4_000));
        assert_eq!(found("0::/a/b/c\n", TWO, &files[1..]), Some(9_000));
        assert_eq!(found("0::/a/b\n", TWO, &files[1..]), None, "a group below is not ours");
        assert_eq!(found("0::/\n", TWO, &[("sys/fs/cgroup/memory.max", "77")]), Some(77));
        let throttled = [("sys/fs/cgroup/a/memory.max", "4000"), ("sys/fs/cgroup/a/memory.high", "3000")];
        assert_eq!(found("0::/a\n", TWO, &throttled), Some(3_000));
    }

    #[test]
    fn in_version_1_the_memory_controller_has_a_path_of_its_own() {
        let groups = "9:name=systemd:/x\n4:memory:/app/inner\n1:cpu,cpuacct:/y\n0::/\n";
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/app/inner/memory.limit_in_bytes", "6000\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n"),
            ("sys/fs/cgroup/cpu/app/memory.limit_in_bytes", "2\n"),
        ];
        assert_eq!(found(groups, ONE, &files), Some(5_000));
        assert_eq!(found("3:cpu,memory:/app\n", ONE, &files), Some(5_000), "controllers share hierarchies");
    }

    #[test]
    fn where_both_versions_are_mounted_the_smaller_limit_holds() {
        let both = format!("{ONE}40 32 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let files =
            [("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000"), ("sys/fs/cgroup/unified/b/memory.max", "4000")];
        assert_eq!(found("4:memory:/a\n0::/b\n", &both, &files), Some(4_000));
        assert_eq!(found("4:memory:/a\n0::/\n", &both, &files), Some(5_000));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_top() {
        let inside = "36 32 0:31 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000"),
            ("sys/fs/cgroup/memory/part/memory.limit_in_bytes", "4000"),
        ];
        assert_eq!(found("4:memory:/docker/abc/part\n", inside, &files), Some(4_000));
        assert_eq!(found("4:memory:/docker/abc\n", inside, &files), Some(5_000));
        assert_eq!(found("4:memory:/elsewhere\n", inside, &files), Some(5_000));
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(found("", TWO, &[]), None);
        assert_eq!(found("0::/a\n", "", &[("sys/fs/cgroup/a/memory.max", "1")]), None);
        assert_eq!(found("nonsense\n0::/../../a\n", "nonsense\n- - -\n", &[]), None);
        let escaping = [("sys/fs/cgroup/a/memory.max", "8"), ("memory.max", "1")];
        assert_eq!(found("0::/../../a\n", TWO, &escaping), Some(8), "nothing outside of the mount is read");
    }
}
