//! Lists: pending and ended deliveries in one order, page by page, each once.

use serde_json::json;

use crate::lone::Lone;

async fn pages(node: &Lone, query: &str, limit: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = node.get(&format!("/v1/deliveries?limit={limit}{query}{next}")).await.expect(200);
        let deliveries = page["deliveries"].as_array().expect("a list");
        assert!(deliveries.len() <= limit);
        seen.extend(deliveries.iter().map(|d| d["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn every_delivery_is_listed_once_newest_first_whether_pending_or_ended() {
    let node = Lone::ready_to_send().await;
    node.account("slow", json!({"fail": "later"})).await;
    node.template("slow", json!({"channel": "sms", "account": "slow", "content": {"text": "hi"}})).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        let template = if n % 3 == 0 { "slow" } else { "hello" };
        let body = json!({"template": template, "to": [format!("+86138001380{n:02}")], "variables": {"name": "n"}, "biz_id": format!("b{}", n % 2)});
        let sent = node.send(body).await;
        let id = sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
        if template == "hello" {
            node.ended(&id).await;
        }
        ids.push(id);
    }
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    for limit in [1, 4, 7, 50] {
        let mut listed = pages(&node, "", limit).await;
        // Two deliveries accepted in the same millisecond have no order of their own.
        let mut expected = newest_first.clone();
        if limit == 50 {
            listed.sort();
            expected.sort();
        } else {
            listed.sort_by(|a, b| b.cmp(a));
            expected.sort_by(|a, b| b.cmp(a));
        }
        assert_eq!(listed, expected, "limit {limit}");
    }
    let pending = pages(&node, "&state=pending", 4).await;
    assert_eq!(pending.len(), 10);
    assert_eq!(pages(&node, "&state=delivered", 3).await.len(), 20);
    assert_eq!(pages(&node, "&template=slow", 50).await.len(), 10);
    assert_eq!(pages(&node, "&biz_id=b1", 4).await.len(), 15);
    assert_eq!(pages(&node, "&recipient=13800138004", 50).await, [ids[4].clone()]);
    assert_eq!(pages(&node, "&recipient=%2B8613800138003", 50).await, [ids[3].clone()]);
    assert_eq!(pages(&node, "&until=2020-01-01T00:00:00Z", 50).await, Vec::<String>::new());
    assert_eq!(pages(&node, "&since=2020-01-01T00:00:00Z", 50).await.len(), 30);
    node.stop().await;
}
