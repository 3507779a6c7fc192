//! `wechat_mini`: sends subscribe messages of a WeChat mini program.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time, Token,
    Unsupported, VendorTemplate,
};

use crate::SandboxInbox;
use crate::catalog::wechat::MINI_FIELDS;
use crate::codes::WECHAT;
use crate::http::{HeaderMap, Method, each};
use crate::json_api::{DEADLINE, ENDPOINT, TIMEOUT, Verdict, needed, needed_secret, no_token, refused};
use crate::wechat::{WechatAccount, template_body};

static INFO: ProviderInfo = ProviderInfo {
    name: "wechat_mini",
    channel: "wechat_mini",
    doc: "Sends subscribe messages of a WeChat mini program, to people who asked for them.",
    source: "WeChat mini programs: sendMessage (subscribe messages); getMessageTemplateList; getStableAccessToken",
    settings: &[
        needed("app_id", "The mini program's id (wx…)."),
        needed_secret("app_secret", "The mini program's secret."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"app_id": "wx0123456789abcdef", "app_secret": "0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(WechatMini)
}

#[derive(Debug)]
struct WechatMini;

#[derive(Debug)]
struct Account(WechatAccount);

impl Provider for WechatMini {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        Ok(Arc::new(Account(WechatAccount::open(settings)?)))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        each(call, |target| self.one(call.at, token, target)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        Some(self.0.fetch_token().await)
    }

    async fn list_templates(
        &self,
        at: Time,
        token: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        let Some(token) = token else { return Ok(Err(Reason::new(Token::INVALID, "no access token was given"))) };
        let url = self.0.api.url("/wxaapi/newtmpl/gettemplate", &[("access_token", token.expose())]);
        let sent = self.0.api.call(Method::GET, url, HeaderMap::new(), Bytes::new()).await;
        let read = |answer: &_| Verdict::accept::<Listing>(answer, at, &WECHAT);
        let listed = self.0.api.settle_as(sent, Some(token), read);
        let template = |one: Listed| VendorTemplate {
            id: one.pri_tmpl_id,
            title: one.title,
            content: one.content,
            example: one.example,
        };
        Ok(listed.map(|list| list.data.into_iter().map(template).collect()))
    }
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "priTmplId")]
    pri_tmpl_id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    example: String,
}

impl Account {
    async fn one(&self, at: Time, token: &Secret, target: &Target) -> Outcome {
        let body = match template_body(MINI_FIELDS, &target.content) {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        self.0.send("/cgi-bin/message/subscribe/send", body, at, token, target).await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::conformance::{Golden, Subject, TokenCase, every};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"app_id": "wx1", "app_secret": "s3cret-44e", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"template_id": "T", "page": "index", "data": {"thing1": "a"}}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 40_037, "errmsg": words})),
            answers: || {
                every(&WECHAT, 999_999, |code| HttpReply::json(200, &json!({"errcode": code, "errmsg": "the words"})))
            },
            token: Some(|| TokenCase {
                fetched: HttpReply::json(200, &json!({"access_token": "ACCESS_TOKEN-1", "expires_in": 7_200})),
                token: "ACCESS_TOKEN-1",
                expires_in: Duration::from_secs(7_200),
                expired: vec![
                    HttpReply::json(200, &json!({"errcode": 40_001, "errmsg": "old"})),
                    HttpReply::json(200, &json!({"errcode": 42_001, "errmsg": "old"})),
                ],
            }),
            golden: || {
                vec![Golden {
                    name: "template",
                    page: "WeChat mini programs: sendMessage (subscribe messages)",
                    to: &["o1"],
                    content: json!({"template_id": "T", "page": "index", "data": {"thing1": "a"}}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "msgid": 2_700}))
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"app_id": "wx1", "app_secret": "s3cret"}),
            path: "",
            token: Some("t0ken"),
            secrets: &["t0ken", "s3cret"],
        }
    }

    // WeChat mini programs: sendMessage (subscribe messages).
    #[tokio::test]
    async fn a_subscribe_message_is_what_the_vendor_describes() {
        let content = json!({"template_id": "T", "page": "index?a=b", "miniprogram_state": "trial", "lang": "en_US",
            "data": {"thing1": "x", "number01": 339}});
        let body = json!({"touser": "o1", "template_id": "T", "page": "index?a=b", "miniprogram_state": "trial",
            "lang": "en_US", "data": {"thing1": {"value": "x"}, "number01": {"value": "339"}}});
        let headers = json!({"content-type": "application/json; charset=utf-8"});
        let request = "POST /cgi-bin/message/subscribe/send?access_token=***";
        trial().goldens("o1", &fine(), request, &headers, [(content, body)]).await;
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (40_001, "later token_invalid"),
            (40_003, "never errcode_40003 Recipient"),
            (43_101, "never errcode_43101 Recipient"),
            (40_037, "never errcode_40037 Content"),
            (41_030, "never errcode_41030 Content"),
            (47_003, "never errcode_47003 Content"),
            (45_009, "later errcode_45009 3600000"),
            (43_107, "never errcode_43107 Account"),
            (43_108, "never errcode_43108 Account"),
        ];
        let content = json!({"template_id": "T", "data": {"thing1": "x"}});
        trial().classes("o1", &content, coded(200, "errcode", "errmsg", &cases)).await;
        let (outcomes, requests) = trial().send(&["o1"], &json!({"template_id": "T"}), []).await;
        assert_eq!((outcomes, requests), (vec![refused("data is missing")], vec![]));
    }

    #[tokio::test]
    async fn templates_are_listed() {
        let said = json!({"errcode": 0, "errmsg": "ok", "data": [{"priTmplId": "9Aw5", "title": "Delivered",
            "content": "place:{{thing1.DATA}}", "example": "place:home", "type": 2}]});
        let server = HttpServer::start(HttpReply::json(200, &said)).await.expect("a free port");
        let listed = trial().account(&server).list_templates(Time(0), Some(&Secret::new("t0ken"))).await;
        let template = VendorTemplate {
            id: "9Aw5".to_owned(),
            title: "Delivered".to_owned(),
            content: "place:{{thing1.DATA}}".to_owned(),
            example: "place:home".to_owned(),
        };
        assert_eq!(listed, Ok(Ok(vec![template])));
        assert_eq!(trial().requests(&server)[0]["request"], "GET /wxaapi/newtmpl/gettemplate?access_token=***");
    }
}
