//! The double's servers: hands each call to the vendor that its folder names, and counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::ask::{Ask, Desk, Reply, Taken};
use super::mail::{self, Mailbox};
use super::{Given, Role, Seen, chat, push, sms, wechat};

/// How long every vendor waits with its answer. Calls are under way when a node dies, as they would be in life.
const WAITS: Duration = Duration::from_millis(400);

type Roles = BTreeMap<String, Role>;

/// Everything the servers share.
#[derive(Debug)]
struct House {
    file: PathBuf,
    roles: OnceCell<Roles>,
    desk: Desk,
    seen: Mutex<Seen>,
}

impl House {
    /// The roles, read at the first call.
    async fn roles(&self) -> Result<&Roles, String> {
        let read = || async {
            let text = fs::read(&self.file).map_err(|error| format!("the roles: {error}"))?;
            serde_json::from_slice(&text).map_err(|error| format!("the roles: {error}"))
        };
        self.roles.get_or_try_init(read).await
    }

    /// Writes down what a call came to, before it is answered.
    fn note(&self, account: &str, given: Result<Vec<Given>, String>) {
        let mut seen = self.seen.lock();
        *seen.calls.entry(account.to_owned()).or_default() += 1;
        match given {
            Ok(given) => seen.given.extend(given),
            Err(words) => seen.wrong.push(format!("{account}: {words}")),
        }
    }

    fn report(&self) -> Seen {
        let tokens = self.desk.tokens.lock();
        let tokens = tokens.iter().map(|(account, given)| (account.clone(), given.len() as u64)).collect();
        Seen { tokens, uploads: self.desk.uploads.lock().clone(), ..self.seen.lock().clone() }
    }
}

/// Takes calls and mails for ever. The roles stand in `file`.
pub async fn serve(http: TcpListener, smtp: TcpListener, file: &Path) {
    let house = House { file: file.to_owned(), roles: OnceCell::new(), desk: Desk::default(), seen: Mutex::default() };
    let house = Arc::new(house);
    tokio::join!(serve_http(http, &house), serve_smtp(smtp, &house));
}

async fn serve_http(listener: TcpListener, house: &Arc<House>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let house = Arc::clone(house);
        tokio::spawn(async move {
            let service = service_fn(|request| take(request, &house));
            // A connection that breaks is the caller's to notice.
            let _broken =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve_smtp(listener: TcpListener, house: &Arc<House>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let house = Arc::clone(house);
        tokio::spawn(async move {
            let roles = house.roles().await;
            let role = roles.ok().and_then(|roles| roles.iter().find(|(_, role)| role.provider == "email/smtp"));
            let Some((account, role)) = role else { return };
            let text = |name: &str| role.settings[name].as_str().unwrap_or_default().to_owned();
            let mailbox = Mailbox { account: account.clone(), username: text("username"), password: text("password") };
            let queue = |mail: Result<Given, String>| {
                let id = format!("4Bq{}", house.desk.next());
                let mail = mail.map(|given| vec![Given { id: Some(id.clone()), ..given }]);
                house.note(account, mail);
                id
            };
            // A connection that breaks is the caller's to notice.
            let _broken = mail::speak(stream, &mailbox, queue).await;
        });
    }
}

async fn take(request: Request<Incoming>, house: &House) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/" {
        let report = serde_json::to_string(&house.report()).unwrap_or_default();
        return Ok(respond(Reply::text(200, &report, Vec::new())));
    }
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Ok(respond(Reply::text(400, "", Vec::new())));
    };
    let whole = parts.uri.path().trim_start_matches('/');
    let (account, path) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
    let taken = match house.roles().await.map(|roles| roles.get(account)) {
        Ok(Some(role)) => play(&Ask {
            desk: &house.desk,
            account,
            role,
            method: parts.method.as_str(),
            path,
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &body,
        }),
        Ok(None) => Err("there is no such account".to_owned()),
        Err(words) => Err(words),
    };
    let taken = taken.map_err(|words| format!("{} {path}: {words}", parts.method));
    house.note(account, taken.as_ref().map(|reply| reply.given.clone()).map_err(String::clone));
    // What was taken stays taken, also when the caller dies before it hears so.
    tokio::time::sleep(WAITS).await;
    Ok(respond(taken.unwrap_or_else(|words| Reply::text(400, &words, Vec::new()))))
}

/// The vendor's answer.
pub(super) fn play(ask: &Ask<'_>) -> Taken {
    match ask.role.provider.as_str() {
        "alipay_mini" => wechat::alipay(ask),
        "custom_http" => sms::described(ask),
        "dingtalk_robot" => chat::dingtalk_robot(ask),
        "dingtalk_work" => chat::dingtalk_work(ask),
        "discord" => chat::discord(ask),
        "feishu_app" => chat::feishu_app(ask),
        "feishu_robot" => chat::feishu_robot(ask),
        "push/apns" => push::apns(ask),
        "push/fcm" => push::fcm(ask),
        "push/getui" => push::getui(ask),
        "slack" => chat::slack(ask),
        "sms/aliyun" => sms::aliyun(ask),
        "sms/lintong" => sms::lintong(ask),
        "sms/tencent" => sms::tencent(ask),
        "sms/twilio" => sms::twilio(ask),
        "sms/yunpian" => sms::yunpian(ask),
        "teams" => chat::teams(ask),
        "telegram" => chat::telegram(ask),
        "webhook" => chat::webhook(ask),
        "wechat_mini" => wechat::mini(ask),
        "wechat_official" => wechat::official(ask),
        "wecom_app" => chat::wecom_app(ask),
        "wecom_robot" => chat::wecom_robot(ask),
        other => Err(format!("nobody plays {other}")),
    }
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
