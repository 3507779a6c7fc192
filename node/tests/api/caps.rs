//! Caps and dedup of a cluster: a crowd of callers at three nodes while leaders change never gets one too many through.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Three;
use crate::lone::until;

const ANN: &str = "+8613800138000";
const CALLERS: usize = 64;

async fn fill(three: &Three) {
    three.ask(0, "PUT", "/v1/accounts/demo", Some(json!({"provider": "sandbox"}))).await.expect(200);
    for name in ["often", "same"] {
        let spec = json!({"channel": "sms", "account": "demo", "content": {"text": "Hello"}});
        three.ask(0, "PUT", &format!("/v1/templates/{name}"), Some(spec)).await.expect(200);
    }
    let cap = json!({"windows": [{"window_ms": 60_000, "most": 5}, {"window_ms": 3_600_000, "most": 7}]});
    let dedup = json!({"window_ms": 3_600_000, "most": 2});
    for (name, kind, template, spec) in [("cap", "frequency", "often", cap), ("twin", "dedup", "same", dedup)] {
        let body = json!({"kind": kind, "selector": {"templates": [template]}, "spec": spec});
        three.ask(1, "PUT", &format!("/v1/policies/{name}"), Some(body)).await.expect(200);
    }
}

/// The deliveries of a template, by whether they were suppressed.
async fn count(three: &Three, template: &str) -> (usize, usize) {
    let path = format!("/v1/deliveries?template={template}&limit=500");
    let page = three.ask(0, "GET", &path, None).await.expect(200);
    let all = page["deliveries"].as_array().cloned().unwrap_or_default();
    let suppressed = all.iter().filter(|delivery| delivery["state"] == "suppressed").count();
    (all.len() - suppressed, suppressed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_three_nodes_while_leaders_change_gets_exactly_what_the_rules_allow() {
    let three = Three::start().await;
    fill(&three).await;
    for at in 0..3 {
        until("every node has the policies", async || {
            let known = three.ask(at, "GET", "/v1/policies", None).await.body["policies"].as_array().map(Vec::len);
            (known == Some(2)).then_some(())
        })
        .await;
    }
    let crowd = (0..CALLERS).map(|n| {
        let three = &three;
        async move {
            let template = if n % 2 == 0 { "often" } else { "same" };
            let body = json!({"template": template, "to": [ANN]});
            tokio::time::sleep(Duration::from_millis(n as u64 * 12)).await;
            three.ask(n % 3, "POST", "/v1/messages", Some(body)).await.status
        }
    });
    let moves = async {
        for node in [1, 2, 3, 1] {
            for partition in ["p0", "p1", "p2"] {
                let body = json!({"group": partition, "to": node});
                three.ask(0, "POST", "/v1/cluster/transfer", Some(body)).await;
            }
        }
    };
    let (statuses, ()) = tokio::join!(futures::future::join_all(crowd), moves);
    let taken = statuses.iter().filter(|status| **status == 202).count();
    assert!(taken > CALLERS / 2, "hardly anybody was answered: {statuses:?}");
    assert_eq!(count(&three, "often").await.0, 5, "{statuses:?}");
    assert_eq!(count(&three, "same").await.0, 2, "{statuses:?}");
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_in_force_on_all_nodes_within_a_second() {
    let three = Three::start().await;
    fill(&three).await;
    let send = async |at: usize| -> Value {
        let body = json!({"template": "often", "to": ["+8613900139000"]});
        three.ask(at, "POST", "/v1/messages?dry_run=true", Some(body)).await.expect(200)["deliveries"][0]["state"]
            .clone()
    };
    for at in 0..3 {
        assert_eq!(send(at).await, "pending");
    }
    for (round, state) in [(0, "suppressed"), (1, "pending")] {
        if round == 0 {
            let body = json!({"kind": "discard", "spec": {"recipients": ["+86139*"]}});
            three.ask(2, "PUT", "/v1/policies/stop", Some(body)).await.expect(200);
        } else {
            assert_eq!(three.ask(2, "DELETE", "/v1/policies/stop", None).await.status, 204);
        }
        let since = Instant::now();
        for at in 0..3 {
            until("the policy is in force", async || (send(at).await == state).then_some(())).await;
        }
        assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    }
    three.stop().await;
}
