//! Mails that were signed with DKIM and came through a real server are verified by an independent implementation: the
//! `dkimpy` package for Python, with a DNS of its own.

use std::fs;

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::failure::ensure;
use crate::mta::{DOMAIN, Mta};
use crate::{Proof, When, binary, python};

/// The selectors, which are also the accounts' names, and the files of their keys.
const KEYS: [(&str, &str); 2] = [("rsa", "dkim_rsa.pem"), ("ed25519", "dkim_ed25519.pem")];

/// Contents in which a canonical form can go wrong: encoded words, long lines, dots, blanks, empty lines at the end, parts.
fn contents() -> [Value; 3] {
    let html = format!("<p>{}</p>\n.\n<p>订单  {{{{ n }}}}</p>  \n\n\n", "many words ".repeat(100));
    let text = "Order\t{{ n }}  was sent.  \r\n\r\n..\r\n.\r\n \t\r\n\r\n\r\n";
    let mut all = [
        json!({"subject": "Order {{ n }}", "text": text}),
        json!({"subject": format!("订单 {{{{ n }}}} {}", "很长".repeat(60)), "html": html}),
        json!({"subject": "=?both?= {{ n }}", "html": html, "from_name": "店, GmbH",
            "reply_to": "Ann <ann@shop.example>", "text": text}),
    ];
    for content in &mut all {
        content["unsubscribe_url"] = json!(format!("https://{DOMAIN}/off?of={{{{ n }}}}"));
        content["unsubscribe_mailto"] = json!(format!("off@{DOMAIN}"));
    }
    all
}

/// Sends signed mails through `mta` by accounts like `plain` with a key each, and gives what the other implementation says.
///
/// # Errors
/// When a mail does not arrive or its signature does not verify.
pub(super) async fn run(cluster: &Cluster, mta: &Mta, plain: &Value) -> Proof<String> {
    let before = mta.mails()?.len();
    for (selector, file) in KEYS {
        let key = binary::root().join("channels/src/testing").join(file);
        let mut account = plain.clone();
        account["settings"]["dkim_selector"] = selector.into();
        account["settings"]["dkim_key"] = fs::read_to_string(key).when("reading a key")?.into();
        for (n, content) in contents().into_iter().enumerate() {
            let template = json!({"channel": "email", "account": selector, "content": content});
            cluster.teach_as(selector, &account, &format!("{selector}-{n}"), &template).await?;
            let to = json!([{"to": format!("signed-{n}@{DOMAIN}"), "variables": {"n": n.to_string()}}]);
            let body = json!({"template": format!("{selector}-{n}"), "to": to});
            cluster
                .admin
                .send(Method::POST, &format!("{}/v1/messages", cluster.url(0)), &body)
                .await?
                .expect_status(202)?;
        }
    }
    let wanted = KEYS.len() * contents().len();
    let signed = eventually("every signed mail is in the Maildir", PATIENCE, async || {
        let mut mails = mta.mails()?;
        mails.retain(|mail| mail.contains("\nDKIM-Signature: "));
        ensure(mails.len() == wanted, || format!("{} of {wanted} are, {before} were there before", mails.len()))?;
        Ok(mails)
    })
    .await?;
    let said = python::verify(cluster, "mails", DOMAIN, &signed)?;
    let expected = format!("{0} ed25519-sha256, {0} rsa-sha256 verified", contents().len());
    ensure(said == expected, || format!("{wanted} mails came, Python says: {said}"))?;
    Ok(said)
}
