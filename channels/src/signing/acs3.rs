//! ACS3-HMAC-SHA256, Alibaba Cloud's signature. Source: Alibaba Cloud SDK, "V3版本请求体&签名机制" (V3 request structure
//! and signature).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidings_contract::{Secret, Time};

use super::{hex, hmac_sha256, sha256_hex, utc};

/// What is not encoded: letters, digits and these four (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text in a query or a form as RFC 3986 wants it: a space is `%20`.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A request that is to be signed: always a POST with its parameters in the query and an empty body.
#[derive(Debug)]
pub(crate) struct Acs3<'a> {
    /// The host, with the port where it is not the scheme's.
    pub(crate) host: &'a str,
    /// The path; `/` at the vendor's own.
    pub(crate) path: &'a str,
    /// What is asked: `SendSms`.
    pub(crate) action: &'a str,
    /// The version of the interface.
    pub(crate) version: &'a str,
    /// Different for every request.
    pub(crate) nonce: &'a str,
    /// When it is asked.
    pub(crate) at: Time,
    /// The parameters.
    pub(crate) params: Vec<(&'a str, String)>,
}

/// The signed request's query and headers.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Everything after the question mark.
    pub(crate) query: String,
    /// The headers beside `Host`.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Acs3<'_> {
    /// Signs the request.
    pub(crate) fn sign(mut self, key_id: &str, key_secret: &Secret) -> Signed {
        self.params.sort();
        let pairs: Vec<_> =
            self.params.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let query = pairs.join("&");
        let body = sha256_hex(b"");
        // In the order of their names, as they are signed.
        let headers = vec![
            ("x-acs-action", self.action.to_owned()),
            ("x-acs-content-sha256", body.clone()),
            ("x-acs-date", utc(self.at, "%Y-%m-%dT%H:%M:%SZ")),
            ("x-acs-signature-nonce", self.nonce.to_owned()),
            ("x-acs-version", self.version.to_owned()),
        ];
        let names: Vec<_> = std::iter::once("host").chain(headers.iter().map(|(name, _)| *name)).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("POST\n{}\n{query}\nhost:{}\n{lines}\n{names}\n{body}", self.path, self.host);
        let text = format!("ACS3-HMAC-SHA256\n{}", sha256_hex(canonical.as_bytes()));
        let signature = hex(&hmac_sha256(key_secret.expose().as_bytes(), text.as_bytes()));
        let authorization = format!("ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={names},Signature={signature}");
        let headers = headers.into_iter().chain([("authorization", authorization)]).collect();
        Signed { query, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_has_the_published_signature() {
        let request = Acs3 {
            host: "ecs.cn-shanghai.aliyuncs.com",
            path: "/",
            action: "RunInstances",
            version: "2014-05-26",
            nonce: "3156853299f313e23d1673dc12e1703d",
            at: Time::parse("2023-10-26T10:22:32Z").expect("a time"),
            params: vec![
                ("RegionId", "cn-shanghai".to_owned()),
                ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd".to_owned()),
            ],
        };
        let signed = request.sign("YourAccessKeyId", &Secret::new("YourAccessKeySecret"));
        assert_eq!(signed.query, "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai");
        let (_, authorization) = signed.headers.last().expect("it is signed");
        assert_eq!(
            authorization,
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;\
             x-acs-date;x-acs-signature-nonce;x-acs-version,\
             Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    #[test]
    fn a_space_is_percent_encoded_and_a_tilde_is_not() {
        assert_eq!(encoded("a b*c+~é"), "a%20b%2Ac%2B~%C3%A9");
    }
}
