//! Three real nodes, a few hundred messages, one kill -9 of the leader of most partitions: everything is counted.

use tidings_cluster_tests::scenarios::Scale;
use tidings_cluster_tests::scenarios::kills::{self, Fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_leader_of_most_partitions_is_killed() {
    let scale = Scale { messages: 600, connections: 8, kills: 1, partitions: 2 };
    let report = kills::run(Fault::Kill, scale).await.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{}", report.text());
}
