//! The planted bugs: what each breaks, and within how many seeds the simulation must notice.

/// One planted bug.
#[derive(Debug)]
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// It must be caught by one of so many seeds.
    pub(crate) within: u64,
}

/// All of them. The places where they are switched on ask `tidings_contract::planted` by name.
pub(crate) const BUGS: &[Bug] = &[
    Bug { name: "ack_before_sync", what: "a log entry counts as kept before it is on the disk", within: 500 },
    Bug { name: "stale_attempt", what: "results of older owners and attempts are accepted", within: 200 },
    Bug {
        name: "dedup_at_the_edge",
        what: "a twin is not seen for as long as a question to another node takes",
        within: 50,
    },
    Bug { name: "failover_on_unknown", what: "another account is tried after an unknown outcome", within: 50 },
    Bug { name: "cap_off_by_one", what: "a frequency cap lets one more through", within: 50 },
    Bug { name: "suppression_ignored", what: "the suppression list is not looked at", within: 20 },
    Bug { name: "quiet_hours_ignored", what: "what would leave in quiet hours does not wait", within: 200 },
    Bug {
        name: "leg_not_asked",
        what: "a delivery goes on by another channel without asking the home there",
        within: 20,
    },
    Bug {
        name: "leg_on_unknown",
        what: "another channel is tried after an attempt that may have been taken",
        within: 20,
    },
    Bug { name: "leave_not_asked", what: "what waited for its time leaves without asking its caps again", within: 50 },
    Bug { name: "lists_ignored", what: "discard and allow lists are not looked at", within: 20 },
    Bug { name: "old_policies", what: "a node stays with the policies it knew first", within: 20 },
    Bug { name: "words_ignored", what: "content is not looked through for sensitive words", within: 20 },
    Bug { name: "expiry_ignored", what: "what is due is attempted though it has expired", within: 20 },
    Bug { name: "no_walk", what: "a new leader does not walk what is pending", within: 20 },
    Bug { name: "counted_twice", what: "a counter grows once more when a snapshot is read", within: 50 },
    Bug { name: "lease_too_large", what: "a lease does not count what was granted before", within: 20 },
    Bug { name: "one_window_only", what: "of the windows of a limit only the first is looked at", within: 50 },
    Bug { name: "claim_skipped", what: "a repeated claim of an idempotency key is taken as the first", within: 20 },
    Bug {
        name: "begin_skipped",
        what: "an attempt is made before it is claimed (`on_unknown = \"stop\"`)",
        within: 50,
    },
    Bug { name: "cut_is_later", what: "a call without an end counts as certainly not taken", within: 20 },
    Bug { name: "windows_not_in_snapshot", what: "a snapshot leaves out everything that runs out", within: 100 },
    Bug {
        name: "clock_of_the_replica",
        what: "a replica that did not propose applies with a time of its own",
        within: 20,
    },
    Bug {
        name: "archive_of_the_proposer",
        what: "only the replica that proposed writes ended deliveries to its archive",
        within: 50,
    },
    Bug { name: "newest_time_rules", what: "the newest wall clock that a node hears of is its present", within: 50 },
    Bug { name: "lease_not_asked", what: "a call is made without asking the lease at the first byte", within: 100 },
    Bug { name: "poison_not_counted", what: "the deaths of those who fill a content are not counted", within: 20 },
    Bug {
        name: "stale_control",
        what: "a node that hears nothing of control goes on believing what it knew",
        within: 50,
    },
    Bug { name: "control_not_asked", what: "a node says what is not there without asking control", within: 50 },
    Bug { name: "attempt_not_told", what: "a trace leaves out the second attempt", within: 20 },
    Bug { name: "disk_not_asked", what: "it is not asked whether a disk is the one that is known", within: 100 },
    Bug { name: "disk_memory_not_kept", what: "a start forgets what was heard of other disks", within: 200 },
];

/// Turns a bug on in this process; false if this build has none or knows no such bug.
#[cfg(feature = "planted")]
pub(crate) fn plant(name: &str) -> bool {
    tidings_contract::plant(name);
    BUGS.iter().any(|bug| bug.name == name)
}

/// This build has no planted bugs.
#[cfg(not(feature = "planted"))]
pub(crate) fn plant(_name: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_readme_lists_these_bugs_and_none_else() {
        let readme = include_str!("../../README.md");
        let (_, table) = readme.split_once("| planted bug |").expect("a table");
        // The rest of the head, and the line below it, are no rows.
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let rows: Vec<[&str; 3]> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let caught: u64 = cells[3].parse().expect("a number of seeds");
                let within: u64 = cells[4].parse().expect("a number of seeds");
                assert!(caught <= within && !cells[5].is_empty(), "{row}");
                [cells[1], cells[2], cells[4]]
            })
            .collect();
        let bugs: Vec<[String; 3]> =
            BUGS.iter().map(|bug| [format!("`{}`", bug.name), bug.what.to_owned(), bug.within.to_string()]).collect();
        assert_eq!(rows, bugs);
    }
}
