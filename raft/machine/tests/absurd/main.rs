//! Applying never panics and is the same everywhere, whatever the command and its numbers: a command that ends the process
//! that applies it would end one replica after the other, and each of them again after every start.

#![allow(clippy::expect_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

mod any_value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use any_value::Any;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde::de::DeserializeOwned;
use tidings_contract::Time;
use tidings_machine::control::Control;
use tidings_machine::partition::Partition;
use tidings_machine::{Machine, Output};

/// Histories of each machine, and commands of each.
const HISTORIES: u64 = 600;
const COMMANDS: usize = 80;

fn draw<T: DeserializeOwned>(chance: &mut TestRng) -> Option<T> {
    // What cannot be drawn (an id of the wrong length) is drawn again.
    (0..50).find_map(|_| T::deserialize(Any { chance, deep: 0 }).ok())
}

/// Applies a drawn history to two machines, of which one is read from a snapshot in the middle.
fn history<M: Machine>(number: u64) -> Result<(), String> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut chance = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let (mut machine, mut other) = (M::default(), M::default());
    for n in 0..COMMANDS {
        let Some(command) = draw::<M::Command>(&mut chance) else { return Err("no command can be drawn".to_owned()) };
        let at: Time = draw(&mut chance).ok_or("no time can be drawn")?;
        // Most of a history is in the same days.
        let at = if n % 8 == 0 { at } else { Time(1_790_000_000_000 + n as u64 * 977) };
        let told = format!("{command:?}");
        let told: String = told.chars().take(2_000).collect();
        let apply = |machine: &mut M, command| {
            let mut out = Output::default();
            let answer = machine.apply(at, command, &mut out);
            format!("{answer:?} {:?} {:?}", out.hints, out.records)
        };
        let both =
            catch_unwind(AssertUnwindSafe(|| (apply(&mut machine, command.clone()), apply(&mut other, command))));
        let (here, there) = both.map_err(|_| format!("history {number}, at {at:?}: {told} panicked"))?;
        if here != there {
            return Err(format!("history {number}, at {at:?}: {told} is answered {here} and {there}"));
        }
        if n == COMMANDS / 2 {
            let bytes = postcard::to_allocvec(&machine).expect("a machine can be written");
            other = postcard::from_bytes(&bytes).expect("a machine can be read");
        }
    }
    let bytes = |machine: &M| postcard::to_allocvec(machine).expect("a machine can be written");
    if bytes(&machine) == bytes(&other) { Ok(()) } else { Err(format!("history {number}: the replicas differ")) }
}

fn all<M: Machine>() {
    let wrong: Vec<String> = (0..HISTORIES).filter_map(|number| history::<M>(number).err()).take(5).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_command_ends_a_partition_or_parts_its_replicas() {
    all::<Partition>();
}

#[test]
fn no_command_ends_control_or_parts_its_replicas() {
    all::<Control>();
}
