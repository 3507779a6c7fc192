//! Waiting until every partition is where it should be after nodes came or left, with a bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Api, Ask};
use super::failure::Failure;
use super::output::{flat, rows};

/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Which nodes changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// The node that came.
    pub(super) came: Option<u64>,
    /// The node that leaves.
    pub(super) left: Option<u64>,
}

/// Waits until the change is complete. The bar goes to stderr, and only when that is a terminal.
///
/// # Errors
/// After `limit`; what was begun goes on all the same. When the node that leaves is the one that is asked, because it is
/// told nothing any more at the end.
pub(super) async fn until_settled(api: &Api, change: Change, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len} in place, {elapsed}") {
        bar.set_style(style);
    }
    loop {
        let (done, all, troubles) = match api.ask(Ask::get(&["v1", "cluster"])).await {
            Ok(reply) if change.left.is_some() && reply.value["node"].as_u64() == change.left => {
                bar.finish_and_clear();
                return Err(Failure::Failed(
                    "the node that leaves was asked, and hears nothing any more at the end; it goes on. Watch it at \
                     another node: tidings cluster status --watch --url"
                        .to_owned(),
                ));
            }
            Ok(reply) => {
                let (done, all) = progress(&reply.value, change);
                (done, all, troubles(&reply.value))
            }
            // A leader may be on its way from one node to another.
            Err(Failure::Refused { status: 500.., .. }) => (0, u64::MAX, Vec::new()),
            Err(failure) => return Err(failure),
        };
        if all < u64::MAX {
            bar.set_length(all);
            bar.set_position(done);
        }
        if done == all {
            bar.finish_and_clear();
            return Ok(());
        }
        if Instant::now() >= deadline {
            bar.finish_and_clear();
            let mut lines = vec![format!(
                "{done} of {all} are in place after {} s; it goes on: tidings cluster status --watch",
                limit.as_secs()
            )];
            lines.extend(troubles);
            return Err(Failure::Failed(lines.join("\n")));
        }
        sleep(LOOK).await;
    }
}

/// A line for each node that does not answer.
pub(super) fn troubles(cluster: &Value) -> Vec<String> {
    let troubled = rows(cluster, "nodes").iter().filter(|node| node["trouble"].is_string());
    troubled.map(|node| format!("node {} does not answer: {}", flat(&node["id"]), flat(&node["trouble"]))).collect()
}

/// How many of the groups are in place, and how many there are; the nodes that changed count as one more.
fn progress(cluster: &Value, change: Change) -> (u64, u64) {
    let partitions = || rows(cluster, "groups").iter().filter(|group| group["name"] != "control");
    let node = |id: u64| rows(cluster, "nodes").iter().find(|node| node["id"] == id);
    let came = change.came.is_none_or(|id| node(id).is_some_and(|node| node["up"] == true));
    let left = change.left.is_none_or(|id| node(id).is_none());
    let placed = partitions().filter(|group| in_place(group)).count() as u64;
    (placed + u64::from(came && left), partitions().count() as u64 + 1)
}

/// The replicas that are wanted and no others, all of them voting, led by the first.
fn in_place(group: &Value) -> bool {
    let sorted = |name: &str| {
        let mut ids: Vec<u64> = rows(group, name).iter().filter_map(Value::as_u64).collect();
        ids.sort_unstable();
        ids
    };
    let wanted = sorted("wanted");
    sorted("replicas") == wanted && sorted("voters") == wanted && group["leader"] == group["wanted"][0]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_complete_when_nodes_replicas_voters_and_leaders_are_as_wanted() {
        let group = |leader: u64, replicas: &[u64], voters: &[u64]| json!({"name": "p0", "leader": leader, "replicas": replicas, "voters": voters, "wanted": [2, 1]});
        let cluster = |group: Value, nodes: Value| json!({"groups": [{"name": "control"}, group], "nodes": nodes});
        let both = json!([{"id": 1, "up": true}, {"id": 2, "up": true}]);
        let change = Change { came: Some(2), left: Some(3) };
        let cases = [
            ("all is done", group(2, &[1, 2], &[1, 2]), both.clone(), 2),
            ("the wrong one leads", group(1, &[1, 2], &[1, 2]), both.clone(), 1),
            ("the new one only learns", group(2, &[1, 2], &[2]), both.clone(), 1),
            ("an old replica is left", group(2, &[1, 2, 3], &[1, 2]), both.clone(), 1),
            ("the new node is down", group(2, &[1, 2], &[1, 2]), json!([{"id": 2, "up": false}]), 1),
            ("the old node is there", group(2, &[1, 2], &[1, 2]), json!([{"id": 2, "up": true}, {"id": 3}]), 1),
        ];
        for (what, group, nodes, done) in cases {
            assert_eq!(progress(&cluster(group, nodes), change), (done, 2), "{what}");
        }
    }
}
