//! Valid phone numbers of all countries come back with every digit, as an independent library makes them: the `phonenumbers`
//! package for Python.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Shape};
use crate::failure::ensure;
use crate::report::Report;
use crate::{Proof, When, python};

/// Numbers in one request.
const AT_ONCE: usize = 2_000;
/// Most numbers that are told one by one.
const TOLD: usize = 20;

#[derive(Deserialize)]
struct Made {
    valid: Vec<String>,
    /// Numbers of which callers bear a part of the cost.
    shared: Vec<String>,
}

/// Asks one node what would become of a message to `count` numbers, and compares.
///
/// # Errors
/// When a number is refused or changed, or Python or the package is missing.
pub async fn run(count: u64) -> Proof<Report> {
    let made: Made =
        serde_json::from_str(&python::say("phones", &[&count.to_string()])?).when("reading the numbers")?;
    let cluster = Cluster::start(&Shape::full(1, 1)).await?;
    let template = json!({"channel": "sms", "account": "box", "content": {"text": "Hello"}});
    cluster.teach("box", &json!({"provider": "sandbox"}), &template).await?;
    let mut wrong = BTreeMap::new();
    for numbers in made.valid.chunks(AT_ONCE) {
        compare(&cluster, numbers, &mut wrong).await?;
    }
    ensure(wrong.is_empty(), || {
        let some: Vec<_> = wrong.iter().take(TOLD).collect();
        format!("{} of {} numbers did not come back as they were: {some:?}", wrong.len(), made.valid.len())
    })?;
    let mut refused = BTreeMap::new();
    compare(&cluster, &made.shared, &mut refused).await?;
    let taken: Vec<_> = made.shared.iter().filter(|number| !refused.contains_key(*number)).collect();
    let mut report = Report::new("phone numbers of an independent library (Python phonenumbers)");
    report.line("valid numbers of all countries that came back unchanged", made.valid.len());
    report.line("numbers of shared cost that were refused", format!("{} of {}", refused.len(), made.shared.len()));
    report.line("those that were not", format!("{taken:?}"));
    Ok(report)
}

/// Notes what became of the numbers that did not come back as they were.
async fn compare(cluster: &Cluster, numbers: &[String], wrong: &mut BTreeMap<String, String>) -> Proof {
    let url = format!("{}/v1/messages?dry_run=true", cluster.url(0));
    let body = json!({"template": "box", "to": numbers});
    let answer = cluster.admin.send(Method::POST, &url, &body).await?;
    // Where nobody can be sent to, the problem tells why of each.
    ensure(matches!(answer.status, 200 | 422), || format!("{} came", answer.status))?;
    let answer: Value = answer.json()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let place = |value: &Value| value["index"].as_u64().and_then(|index| usize::try_from(index).ok());
    let mut back: BTreeMap<usize, String> = BTreeMap::new();
    for delivery in answer["deliveries"].as_array().into_iter().flatten() {
        place(delivery).and_then(|index| back.insert(index, text(&delivery["to"])));
    }
    for rejected in answer["rejected"].as_array().into_iter().flatten() {
        place(rejected).and_then(|index| back.insert(index, format!("refused: {}", text(&rejected["detail"]))));
    }
    for (index, number) in numbers.iter().enumerate() {
        let came = back.remove(&index).unwrap_or_else(|| "nothing came back".to_owned());
        if came != *number {
            wrong.insert(number.clone(), came);
        }
    }
    Ok(())
}
