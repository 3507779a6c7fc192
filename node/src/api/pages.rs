//! The few pages for people: the front door and the list of problems.

use axum::Json as Answer;
use axum::response::Html;
use serde_json::{Value, json};

use crate::problem::Code;

/// The front door: where everything is.
pub(crate) async fn front() -> Answer<Value> {
    Answer(json!({
        "name": "tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "problems": "/docs/problems",
        "health": ["/healthz", "/readyz", "/metrics"],
    }))
}

/// Every problem, with what to do about it.
pub(crate) async fn problems() -> Html<String> {
    let row = |code: &Code| {
        let (name, status) = (code.name(), code.status());
        format!("<tr id=\"{name}\"><td><code>{name}</code><td>{status}<td>{}<td>{}", code.title(), code.what_to_do())
    };
    let rows: String = Code::ALL.iter().map(row).collect();
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Problems</title>\
         <style>body{{font-family:sans-serif;margin:2rem}}td,th{{text-align:left;padding:.3rem .8rem}}\
         tr:target{{background:#ffd}}</style><h1>Problems</h1>\
         <table><tr><th>code<th>status<th>what it means<th>what to do{rows}</table></html>"
    ))
}
