//! Has the actors work out what content dedup compares, for templates that ask for it.

use tidings_actors::render::Variables;
use tidings_actors::{FingerprintError, FingerprintItem};

use super::Compiled;
use super::check::Checked;
use crate::app::App;
use crate::problem::{Code, Problem};

/// How often fingerprints are asked for when the actor that makes them dies.
const TRIES: usize = 3;

/// Fills in the fingerprints of `checked`, if its template wants content dedup.
pub(super) async fn fingerprint(app: &App, compiled: &Compiled, checked: &mut Checked) -> Result<(), Problem> {
    if compiled.version.spec.dedup.is_none() {
        return Ok(());
    }
    let shared = parse(&checked.sheet.variables)?;
    let all = checked.recipients.iter().chain(&checked.absent);
    let items =
        all.map(|recipient| item(&recipient.to, recipient.variables.as_deref())).collect::<Result<Vec<_>, _>>()?;
    let fingerprints = ask(app, compiled, shared, items).await?;
    let all = checked.recipients.iter_mut().chain(&mut checked.absent);
    for (recipient, fingerprint) in all.zip(fingerprints) {
        recipient.fingerprint = fingerprint;
    }
    Ok(())
}

/// The fingerprint of one recipient; none if its template does not want content dedup.
pub(crate) async fn fingerprint_of(
    app: &App,
    compiled: &Compiled,
    to: &str,
    shared: &str,
    own: Option<&str>,
) -> Result<Option<u64>, Problem> {
    if compiled.version.spec.dedup.is_none() {
        return Ok(None);
    }
    let fingerprints = ask(app, compiled, parse(shared)?, vec![item(to, own)?]).await?;
    Ok(fingerprints.into_iter().next().flatten())
}

async fn ask(
    app: &App,
    compiled: &Compiled,
    shared: Variables,
    items: Vec<FingerprintItem>,
) -> Result<Vec<Option<u64>>, Problem> {
    for _ in 0..TRIES {
        match app.motion.fingerprints(&compiled.name, &compiled.version, shared.clone(), items.clone()).await {
            // What cannot be rendered has nothing to compare; it ends as a dead letter that says why.
            Ok(fingerprints) => return Ok(fingerprints.into_iter().map(Result::ok).collect()),
            Err(FingerprintError::Busy) => {
                return Err(Problem::new(Code::Full, "too many recipients wait for content dedup"));
            }
            Err(FingerprintError::Template(why)) => return Err(Problem::new(Code::Internal, why)),
            Err(FingerprintError::Lost) => {}
        }
    }
    Err(Problem::new(Code::Full, "content dedup is not available"))
}

fn item(to: &str, own: Option<&str>) -> Result<FingerprintItem, Problem> {
    Ok(FingerprintItem { to: to.to_owned(), variables: own.map(parse).transpose()?.unwrap_or_default() })
}

fn parse(text: &str) -> Result<Variables, Problem> {
    Variables::parse(text).map_err(|why| Problem::new(Code::Internal, why))
}
