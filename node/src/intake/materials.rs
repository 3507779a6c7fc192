//! Looks for recipients whose message would name a material that there is not, so that nobody waits for what cannot go out.

use std::collections::{BTreeMap, BTreeSet};

use tidings_actors::render::Variables;
use tidings_channels::{materials_of, may_name_materials};

use super::Compiled;
use super::check::Checked;
use crate::app::App;
use crate::problem::{Problem, Rejected};

/// What a template's content, or a variable, has in it if it names a material.
const IN_CONTENT: &str = "material";
const IN_VARIABLE: &str = "material:";

/// Rejects recipients whose content names a material that there is not (any more). Of a template's further legs nothing is
/// said: the first may well deliver. A material that is deleted later fails the delivery when it is sent.
///
/// # Errors
/// Whatever makes control unreachable: a material that is not known here may have been put on another node a moment ago.
pub(super) async fn have_materials(app: &App, compiled: &Compiled, checked: &mut Checked) -> Result<(), Problem> {
    let named = named(compiled, checked)?;
    let ids: BTreeSet<&String> = named.values().flatten().collect();
    let missing = app.unknown_materials(&ids).await?;
    let lacks = |index: &u16| named.get(index).and_then(|ids| ids.iter().find(|id| missing.contains(id.as_str())));
    checked.set_aside(|recipient| {
        lacks(&recipient.index).map(|id| {
            let detail = format!("there is no material {id}");
            Rejected::new(recipient.index, &recipient.to, "unknown_material", &detail)
        })
    });
    Ok(())
}

/// The materials that each recipient's content names, by the recipient's index. Hardly any message names one, so contents
/// are made only where something hints at it.
fn named(compiled: &Compiled, checked: &Checked) -> Result<BTreeMap<u16, BTreeSet<String>>, Problem> {
    let mut named = BTreeMap::new();
    if !may_name_materials(compiled.channel.name) {
        return Ok(named);
    }
    let in_all = compiled.version.spec.content.contains(IN_CONTENT) || checked.sheet.variables.contains(IN_VARIABLE);
    let hints = |text: &Option<String>| in_all || text.as_ref().is_some_and(|text| text.contains(IN_VARIABLE));
    let mut shared = None;
    for recipient in checked.recipients.iter().filter(|recipient| hints(&recipient.variables)) {
        let shared = match &shared {
            Some(shared) => shared,
            None => shared.insert(parse(&checked.sheet.variables)?),
        };
        let own = recipient.variables.as_deref().map(parse).transpose()?.unwrap_or_default();
        // What cannot be filled ends as a dead letter that says why.
        let Ok((content, _)) = compiled.fill(shared, &own) else { continue };
        let ids: BTreeSet<_> = materials_of(compiled.channel.name, &content).into_iter().collect();
        if !ids.is_empty() {
            named.insert(recipient.index, ids);
        }
    }
    Ok(named)
}

fn parse(text: &str) -> Result<Variables, Problem> {
    Variables::parse(text).map_err(|why| Problem::new(crate::problem::Code::Internal, why))
}
