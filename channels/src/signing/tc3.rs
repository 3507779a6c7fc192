//! TC3-HMAC-SHA256, Tencent Cloud's signature. Source: Tencent Cloud API, "签名方法 v3" (Signature v3).

use tidings_contract::{Secret, Time};

use super::{hex, hmac_sha256, sha256_hex, utc};

/// A request that is to be signed: always a POST of JSON.
#[derive(Debug)]
pub(crate) struct Tc3<'a> {
    /// The part of the cloud: `sms`.
    pub(crate) service: &'a str,
    /// The host, with the port where it is not the scheme's.
    pub(crate) host: &'a str,
    /// The path; `/` at the vendor's own.
    pub(crate) path: &'a str,
    /// The value of `Content-Type`.
    pub(crate) content_type: &'a str,
    /// The body.
    pub(crate) body: &'a [u8],
    /// The time in `X-TC-Timestamp`.
    pub(crate) at: Time,
}

impl Tc3<'_> {
    /// The value of `Authorization`.
    pub(crate) fn authorization(&self, secret_id: &str, secret_key: &Secret) -> String {
        let Self { service, host, path, content_type, body, at } = self;
        let date = utc(*at, "%Y-%m-%d");
        let canonical = format!(
            "POST\n{path}\n\ncontent-type:{content_type}\nhost:{host}\n\ncontent-type;host\n{}",
            sha256_hex(body)
        );
        let scope = format!("{date}/{service}/tc3_request");
        let text = format!("TC3-HMAC-SHA256\n{}\n{scope}\n{}", at.0 / 1_000, sha256_hex(canonical.as_bytes()));
        let mut key = format!("TC3{}", secret_key.expose()).into_bytes();
        for part in [date.as_str(), service, "tc3_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let signature = hex(&hmac_sha256(&key, text.as_bytes()));
        format!(
            "TC3-HMAC-SHA256 Credential={secret_id}/{scope}, SignedHeaders=content-type;host, Signature={signature}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_has_the_published_signature() {
        let request = Tc3 {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            path: "/",
            content_type: "application/json; charset=utf-8",
            body: br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#,
            at: Time(1_551_113_065_000),
        };
        let key = Secret::new("Gu5t9xGARNpq86cd98joQYCN3*******");
        assert_eq!(
            request.authorization("AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******", &key),
            "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host, \
             Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"
        );
    }
}
