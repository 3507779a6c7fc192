//! Whole clusters of clocks, without a network: each asks the others every half second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::*;

const START: u64 = 1_800_000_000_000;
const SECOND: u64 = 1_000;
const HOUR: i64 = 3_600_000;

/// One machine: its elapsed time began somewhere, and its wall clock is ahead by something.
#[derive(Debug, Default)]
struct Machine {
    elapsed: AtomicU64,
    world: Arc<AtomicU64>,
    ahead: AtomicI64,
}

impl Clock for Machine {
    fn now(&self) -> Time {
        Time((START + self.world.load(Ordering::Relaxed)).saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::Relaxed))
    }
}

struct Cluster {
    world: Arc<AtomicU64>,
    nodes: Vec<(Arc<Machine>, ClusterTime)>,
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        let world: Arc<AtomicU64> = Arc::default();
        let node = |n: usize| {
            let machine =
                Machine { elapsed: (77_000 * n as u64 + 5).into(), world: Arc::clone(&world), ..Machine::default() };
            let machine = Arc::new(machine);
            (Arc::clone(&machine), ClusterTime::new(machine, Duration::from_millis(500)))
        };
        let nodes = (0..nodes).map(node).collect();
        Self { world, nodes }
    }

    /// Starts a node anew: it has no peers' answers and no present, and the newest stamp on its disk is `newest`.
    fn restart(&mut self, node: usize, newest: u64) {
        let machine = Arc::clone(&self.nodes[node].0);
        let time = ClusterTime::new(machine, Duration::from_millis(500));
        time.begin(Time(newest));
        self.nodes[node].1 = time;
    }

    fn ahead(&self, node: usize, ms: i64) {
        self.nodes[node].0.ahead.store(ms, Ordering::Relaxed);
    }

    /// Lets time pass; every half second each node asks all others and looks.
    fn run(&self, ms: u64) {
        for _ in 0..ms / 500 {
            self.world.fetch_add(500, Ordering::Relaxed);
            for (machine, _) in &self.nodes {
                machine.elapsed.fetch_add(500, Ordering::Relaxed);
            }
            for me in 0..self.nodes.len() {
                let others = (0..self.nodes.len()).filter(|other| *other != me);
                for other in others.clone() {
                    let now = self.nodes[me].1.elapsed_ms();
                    let reading = self.nodes[other].1.reading(self.nodes[other].1.wall());
                    self.nodes[me].1.hear(other as u64, now.saturating_sub(3), now, reading);
                }
                let others = others.map(|other| other as u64).collect();
                self.nodes[me].1.look(&Company::Others(others));
            }
        }
    }

    /// How far the present of a node is ahead of the truth, in milliseconds.
    fn off(&self, node: usize) -> i64 {
        signed(self.nodes[node].1.now().0) - signed(START + self.world.load(Ordering::Relaxed))
    }

    fn astray(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].1.is_astray()).collect()
    }
}

#[test]
fn after_a_start_the_present_is_what_a_majority_says() {
    for (what, ahead) in
        [("all right", [0, 0, 0]), ("one an hour ahead", [HOUR, 0, 0]), ("one a day behind", [0, -24 * HOUR, 0])]
    {
        let cluster = Cluster::new(3);
        (0..3).for_each(|node| cluster.ahead(node, ahead[node]));
        cluster.run(SECOND);
        for node in 0..3 {
            assert!(cluster.off(node).abs() <= 20, "{what}: node {node} is off by {}", cluster.off(node));
            assert!(cluster.nodes[node].1.is_settled(), "{what}");
        }
    }
}

#[test]
fn a_clock_that_jumps_moves_no_present_and_is_astray_until_it_is_right() {
    for ahead in [2 * 1_000, HOUR, 25 * HOUR, 30 * 24 * HOUR, -2_000, -HOUR, -300 * HOUR] {
        let cluster = Cluster::new(3);
        cluster.run(5 * SECOND);
        cluster.ahead(1, ahead);
        cluster.run(3 * SECOND);
        assert_eq!(cluster.astray(), [1], "by {ahead}");
        assert!((0..3).all(|node| cluster.off(node).abs() <= 30), "by {ahead}");
        cluster.ahead(1, 0);
        cluster.run(3 * SECOND);
        assert_eq!(cluster.astray(), [0; 0], "by {ahead}");
        assert!((0..3).all(|node| cluster.off(node).abs() <= 30), "by {ahead}");
    }
}

#[test]
fn two_wrong_clocks_of_three_draw_time_by_one_percent() {
    let cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    cluster.ahead(0, HOUR);
    cluster.ahead(1, HOUR);
    cluster.run(10 * SECOND);
    assert!((0..3).all(|node| cluster.off(node) <= 110), "{:?}", [cluster.off(0), cluster.off(1), cluster.off(2)]);
    cluster.ahead(0, 0);
    cluster.ahead(1, 0);
    cluster.run(20 * SECOND);
    assert!((0..3).all(|node| cluster.off(node).abs() <= 20), "{:?}", [cluster.off(0), cluster.off(1), cluster.off(2)]);
}

#[test]
fn where_no_majority_agrees_time_elapses_and_nobody_is_called_wrong() {
    for nodes in [2, 3] {
        let cluster = Cluster::new(nodes);
        cluster.run(5 * SECOND);
        (0..nodes).for_each(|node| cluster.ahead(node, HOUR * node as i64));
        cluster.run(60 * SECOND);
        assert_eq!(cluster.astray(), [0; 0]);
        assert!((0..nodes).all(|node| cluster.off(node).abs() <= 20));
    }
}

#[test]
fn a_jump_each_second_on_two_nodes_moves_nothing_far() {
    let cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    for second in 0..60 {
        cluster.ahead(0, if second % 2 == 0 { HOUR } else { 0 });
        cluster.ahead(1, if second % 2 == 0 { -HOUR } else { 0 });
        cluster.run(SECOND);
    }
    assert!((0..3).all(|node| cluster.off(node).abs() <= 50));
}

#[test]
fn a_node_that_starts_with_a_wrong_clock_takes_over_the_time_that_runs() {
    let mut cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    cluster.ahead(2, 25 * HOUR);
    cluster.restart(2, START);
    assert!(cluster.off(2) <= 0, "it does not believe its own clock");
    cluster.run(3 * SECOND);
    assert!(cluster.off(2).abs() <= 20, "{}", cluster.off(2));
    assert_eq!(cluster.astray(), [2]);
}

#[test]
fn a_rolling_restart_under_two_wrong_clocks_keeps_the_time_that_runs() {
    let mut cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    cluster.ahead(0, HOUR);
    cluster.ahead(1, HOUR);
    for node in 0..3 {
        cluster.run(2 * SECOND);
        cluster.restart(node, START);
        cluster.run(2 * SECOND);
    }
    assert!((0..3).all(|node| cluster.off(node).abs() <= 200));
}

#[test]
fn after_a_full_stop_with_a_wrong_clock_the_majority_gives_the_start() {
    let mut cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    cluster.ahead(1, -5 * HOUR);
    cluster.world.fetch_add(3_600_000, Ordering::Relaxed);
    (0..3).for_each(|node| cluster.restart(node, START + 5 * SECOND));
    cluster.run(SECOND);
    assert!((0..3).all(|node| cluster.off(node).abs() <= 20));
}

#[test]
fn after_a_full_stop_of_two_that_disagree_time_goes_on_from_the_disk() {
    let mut cluster = Cluster::new(2);
    cluster.run(5 * SECOND);
    cluster.ahead(1, 5 * HOUR);
    (0..2).for_each(|node| cluster.restart(node, START + 5 * SECOND));
    cluster.run(10 * SECOND);
    assert!((0..2).all(|node| cluster.off(node).abs() <= 20), "{} {}", cluster.off(0), cluster.off(1));
    assert!(!cluster.nodes[0].1.is_settled());
    cluster.ahead(1, 0);
    cluster.run(SECOND);
    assert!(cluster.nodes[0].1.is_settled());
}

#[test]
fn a_machine_that_was_paused_takes_over_the_time_of_the_others() {
    let cluster = Cluster::new(3);
    cluster.run(5 * SECOND);
    // The others went on for ten minutes, and this machine's elapsed time did not.
    cluster.world.fetch_add(600_000, Ordering::Relaxed);
    for node in [0, 2] {
        cluster.nodes[node].0.elapsed.fetch_add(600_000, Ordering::Relaxed);
    }
    cluster.run(2 * SECOND);
    assert!((0..3).all(|node| cluster.off(node).abs() <= 20), "{}", cluster.off(1));
}

#[test]
fn alone_a_clock_is_believed_at_the_start_and_its_jumps_are_not() {
    let mut cluster = Cluster::new(1);
    cluster.run(SECOND);
    assert_eq!(cluster.off(0), 0);
    cluster.ahead(0, HOUR);
    cluster.run(10 * SECOND);
    assert!(cluster.off(0) <= 110, "{}", cluster.off(0));
    assert_eq!(cluster.astray(), [0; 0]);
    cluster.restart(0, START);
    cluster.run(SECOND);
    assert_eq!(cluster.off(0), HOUR, "a start believes it");
    cluster.ahead(0, 0);
    cluster.run(SECOND);
    assert_eq!(cluster.nodes[0].1.repair().map(|to| to.0), Some(START + cluster.world.load(Ordering::Relaxed)));
    assert_eq!(cluster.off(0), 0);
}

#[test]
fn what_is_reported_is_what_was_measured() {
    let cluster = Cluster::new(3);
    cluster.run(2 * SECOND);
    cluster.ahead(1, HOUR);
    cluster.run(2 * SECOND);
    let (right, wrong) = (cluster.nodes[0].1.report(), cluster.nodes[1].1.report());
    assert_eq!((right.stand, right.astray, wrong.stand, wrong.astray), (Stand::Agrees, false, Stand::Astray, true));
    assert!(wrong.ahead_ms.is_some_and(|ms| ms.abs_diff(HOUR) <= 20), "{wrong:?}");
    assert!(right.peers[&1].ahead_ms.abs_diff(HOUR) <= 20 && right.peers[&2].ahead_ms.abs() <= 20, "{right:?}");
    assert!(cluster.nodes[0].1.is_peer_astray(1) && !cluster.nodes[0].1.is_peer_astray(2));
}
