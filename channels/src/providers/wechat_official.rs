//! `wechat_official`: sends template messages of a WeChat official account.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time, Token,
    Unsupported, VendorTemplate,
};

use crate::SandboxInbox;
use crate::catalog::wechat::OFFICIAL_FIELDS;
use crate::http::{HeaderMap, Method, each};
use crate::json_api::{DEADLINE, ENDPOINT, TIMEOUT, needed, needed_secret, no_token, refused};
use crate::stable_id::hex32;
use crate::wechat::{WechatAccount, template_body, unless_refused};

static INFO: ProviderInfo = ProviderInfo {
    name: "wechat_official",
    channel: "wechat_official",
    doc: "Sends template messages of a WeChat official account.",
    source: "WeChat official accounts: Template message interface; Getting a stable access token; Global return codes",
    settings: &[
        needed("app_id", "The account's id (wx…)."),
        needed_secret("app_secret", "The account's secret."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"app_id": "wx0123456789abcdef", "app_secret": "0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(WechatOfficial)
}

#[derive(Debug)]
struct WechatOfficial;

#[derive(Debug)]
struct Account(WechatAccount);

impl Provider for WechatOfficial {
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
        let url = self.0.api.url("/cgi-bin/template/get_all_private_template", &[("access_token", token.expose())]);
        let sent = self.0.api.call(Method::GET, url, HeaderMap::new(), Bytes::new()).await;
        let listed = self.0.api.settle_as(sent, Some(token), |answer| unless_refused::<Listing>(answer, at));
        let template = |one: Listed| VendorTemplate {
            id: one.template_id,
            title: one.title,
            content: one.content,
            example: one.example,
        };
        Ok(listed.map(|list| list.template_list.into_iter().map(template).collect()))
    }
}

#[derive(Deserialize)]
struct Listing {
    template_list: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    template_id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    example: String,
}

impl Account {
    async fn one(&self, at: Time, token: &Secret, target: &Target) -> Outcome {
        let mut body = match template_body(OFFICIAL_FIELDS, &target.content) {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        // By this id the vendor drops a repeat of the same delivery for ten minutes.
        body.insert("client_msg_id".to_owned(), hex32(target).into());
        self.0.send("/cgi-bin/message/template/send", body, at, token, target).await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::codes::WECHAT;
    use crate::conformance::{Golden, Subject, TokenCase, every};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"app_id": "wx1", "app_secret": "s3cret-44d", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"template_id": "ngq", "data": {"keyword1": "a"}}),
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
                    page: "WeChat official accounts: Template message interface",
                    to: &["o1"],
                    content: json!({"template_id": "ngq", "data": {"keyword1": "a"}}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "msgid": 200_228_332}))
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

    // WeChat official accounts: Template message interface, "Sending template messages".
    #[tokio::test]
    async fn a_template_message_is_what_the_vendor_describes() {
        let id = hex32(&crate::testing::call(&["o1"], json!({})).targets[0]);
        let mini = json!({"appid": "xiaochengxuappid12345", "pagepath": "index?foo=bar"});
        let cases = [
            (
                json!({"template_id": "ngq", "data": {"keyword1": "a", "keyword2": {"value": "b", "color": "#173177"}}}),
                json!({"touser": "o1", "template_id": "ngq", "client_msg_id": id,
                    "data": {"keyword1": {"value": "a"}, "keyword2": {"value": "b", "color": "#173177"}}}),
            ),
            (
                json!({"template_id": "ngq", "url": "https://a.example", "miniprogram": mini, "data": {"k": "v"}}),
                json!({"touser": "o1", "template_id": "ngq", "client_msg_id": id, "url": "https://a.example",
                    "miniprogram": mini, "data": {"k": {"value": "v"}}}),
            ),
        ];
        let headers = json!({"content-type": "application/json; charset=utf-8"});
        let request = "POST /cgi-bin/message/template/send?access_token=***";
        trial().goldens("o1", &fine(), request, &headers, cases).await;
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (-1, "later errcode_-1"),
            (40_001, "later token_invalid"),
            (42_001, "later token_invalid"),
            (40_003, "never errcode_40003 Recipient"),
            (43_004, "never errcode_43004 Recipient"),
            (40_037, "never errcode_40037 Content"),
            (47_001, "never errcode_47001 Content"),
            (47_003, "never errcode_47003 Content"),
            (40_165, "never errcode_40165 Content"),
            (45_009, "later errcode_45009 3600000"),
            (45_011, "later errcode_45011 60000"),
            (48_001, "never errcode_48001 Account"),
            (40_164, "never errcode_40164 Account"),
            (999_999, "later errcode_999999"),
        ];
        let content = json!({"template_id": "t", "data": {"k": "v"}});
        trial().classes("o1", &content, coded(200, "errcode", "errmsg", &cases)).await;
        trial().classes("o1", &content, [(fine(), "delivered 200228332")]).await;
        let (outcomes, requests) = trial().send(&["o1"], &json!({"template_id": "t", "data": {"k": []}}), []).await;
        assert_eq!((outcomes[0].class(), requests), ("never", vec![]));
        let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["o1"], &content, []).await;
        assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
    }

    #[tokio::test]
    async fn tokens_are_fetched_and_templates_listed() {
        let given = json!({"access_token": "ACCESS_TOKEN", "expires_in": 7_200});
        let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
        let account = trial().account(&server);
        let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
        assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("ACCESS_TOKEN", 7_200));
        server.set(HttpReply::json(200, &json!({"errcode": 40_125, "errmsg": "invalid appsecret"})));
        let refused = account.fetch_token().await.expect("it has tokens").expect_err("the secret is wrong");
        assert_eq!(refused.code, "errcode_40125");
        server.set(HttpReply::json(
            200,
            &json!({"template_list": [{"template_id": "iPk5", "title": "Gift",
            "primary_industry": "IT", "deputy_industry": "Software", "content": "{{result.DATA}}", "example": "e"}]}),
        ));
        let listed = account.list_templates(Time(0), Some(&Secret::new("t0ken"))).await;
        let template = VendorTemplate {
            id: "iPk5".to_owned(),
            title: "Gift".to_owned(),
            content: "{{result.DATA}}".to_owned(),
            example: "e".to_owned(),
        };
        assert_eq!(listed, Ok(Ok(vec![template])));
        server.set(HttpReply::json(200, &json!({"errcode": 40_001, "errmsg": "t0ken is old"})));
        let refused = account.list_templates(Time(0), Some(&Secret::new("t0ken"))).await;
        assert_eq!(refused, Ok(Err(Reason::new(Token::INVALID, "errcode_40001: *** is old"))));
        let requests = trial().requests(&server);
        assert_eq!(requests[0]["request"], "POST /cgi-bin/stable_token");
        assert_eq!(
            requests[0]["body"],
            json!({"grant_type": "client_credential", "appid": "wx1", "secret": "***", "force_refresh": false})
        );
        assert_eq!(requests[2]["request"], "GET /cgi-bin/template/get_all_private_template?access_token=***");
    }
}
