//! Which change is made where, and what the audit log keeps of it.

use super::{Action, Answer, AuditEntry, Command, Control, Refusal};

/// Most entries of the audit log; older ones fall out.
const AUDIT_KEPT: usize = 10_000;

/// What the audit log calls an entry that is passed over.
const SKIP: &str = "skip_entry";

/// What a change came to.
pub(super) enum Change {
    /// Something is other than before: it goes into the audit log.
    Made(Answer),
    /// It was so already, or it is nothing that operators decide.
    None(Answer),
}

impl Control {
    pub(super) fn dispatch(&mut self, command: Command) -> Answer {
        let Command { by, action } = command;
        if self.cluster.is_none() && !matches!(action, Action::Found { .. }) {
            return Answer::Refused(Refusal::NotFounded);
        }
        let (name, subject) = describe(&action);
        match self.change(action, &by, &subject) {
            Ok(Change::Made(answer)) => {
                self.note(by, name, subject);
                answer
            }
            Ok(Change::None(answer)) => answer,
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn change(&mut self, action: Action, by: &str, subject: &str) -> Result<Change, Refusal> {
        match action {
            Action::Found { cluster, partitions, replication, node, info, key_id, key } => {
                self.found((cluster, partitions, replication), (node, info), (key_id, key))
            }
            Action::PutNode { node, info } => self.put_node(node, info),
            Action::PutTemplate { name, spec } => self.put_template(name, *spec, by),
            Action::DeleteTemplate { name } => self.delete_template(&name),
            Action::PutAccount {
                name,
                provider,
                settings,
                secret_names,
                sealed,
                limit,
                further_limits,
                limit_unit,
                wishes,
            } => {
                let account = super::Account {
                    provider,
                    settings,
                    secret_names,
                    sealed,
                    limit,
                    revision: self.audit_seq + 1,
                    updated_at: self.now,
                    further_limits,
                    limit_unit,
                    wishes,
                };
                self.put_account(name, account)
            }
            Action::DeleteAccount { name } => self.delete_account(&name),
            Action::PutKey { id, name, role, hash } => self.put_key(id, name, role, hash),
            Action::RevokeKey { id } => self.revoke_key(&id),
            Action::RemoveNode { node } => self.remove_node(node),
            Action::ReplaceNode { old, node, info } => self.replace_node(old, node, info),
            Action::ForgetNode { node } => self.forget_node(node),
            Action::PreferLeader { partition, node } => self.prefer_leader(partition, node),
            Action::PutMaterial { id, material } => self.put_material(id, *material, by),
            Action::DeleteMaterial { id } => self.delete_material(&id),
            Action::PutPolicy { name, spec } => self.put_policy(name, *spec, by),
            Action::DeletePolicy { name } => self.delete_policy(&name),
            Action::PutWords { words } => self.put_words(words),
            Action::PutRoute { name, spec } => self.put_route(name, *spec, by),
            Action::DeleteRoute { name } => self.delete_route(&name),
            Action::TripAccount { account, epoch, policy, why } => self.trip_account(account, epoch, policy, why),
            Action::ProbeAccount { account, epoch, node, lapse_ms } => {
                self.probe_account(&account, epoch, node, lapse_ms)
            }
            Action::CloseAccount { account, epoch } => self.close_account(&account, epoch),
            Action::PutCallback { key, callback } => self.put_callback(key, callback.map(|callback| *callback)),
            Action::PutProvider { name, spec } => self.put_provider(name, *spec, by),
            Action::DeleteProvider { name } => self.delete_provider(&name),
            Action::PutDisk { node, disk } => self.put_disk(node, disk),
            Action::ChangeDisk { node, old, disk } => self.change_disk(node, old, disk),
            Action::KeepDisk { node } => self.keep_disk(node),
            Action::AdmitDisk { node, disk } => self.admit_disk(node, disk),
            Action::ForceDisk { node, disk } => self.force_disk(node, disk),
            Action::RepairTime { repair, latest } => Ok(self.repair_time(repair, latest)),
            Action::NoteSkip { .. } => Ok(self.note_once(subject)),
        }
    }

    /// Every replica of a group says it, and each again when its process starts.
    fn note_once(&self, subject: &str) -> Change {
        let noted = self.audit.iter().any(|entry| entry.action == SKIP && entry.subject == subject);
        if noted { Change::None(Answer::Done) } else { Change::Made(Answer::Done) }
    }

    pub(super) fn note(&mut self, by: String, action: &str, subject: String) {
        self.audit_seq += 1;
        self.audit.push_back(AuditEntry { seq: self.audit_seq, at: self.now, by, action: action.to_owned(), subject });
        if self.audit.len() > AUDIT_KEPT {
            self.audit.pop_front();
        }
    }
}

/// The name and the subject of a change, for the audit log.
fn describe(action: &Action) -> (&'static str, String) {
    match action {
        Action::Found { cluster, .. } => ("found", cluster.clone()),
        Action::PutNode { node, .. } => ("put_node", node.to_string()),
        Action::PutTemplate { name, .. } => ("put_template", name.clone()),
        Action::DeleteTemplate { name } => ("delete_template", name.clone()),
        Action::PutAccount { name, .. } => ("put_account", name.clone()),
        Action::DeleteAccount { name } => ("delete_account", name.clone()),
        Action::PutKey { id, .. } => ("put_key", id.clone()),
        Action::RevokeKey { id } => ("revoke_key", id.clone()),
        Action::RemoveNode { node } => ("remove_node", node.to_string()),
        Action::ReplaceNode { old, node, .. } => ("replace_node", format!("{old} by {node}")),
        Action::ForgetNode { node } => ("forget_node", node.to_string()),
        Action::PreferLeader { partition, node } => ("prefer_leader", format!("{node} for {partition}")),
        Action::PutMaterial { id, .. } => ("put_material", id.clone()),
        Action::DeleteMaterial { id } => ("delete_material", id.clone()),
        Action::PutPolicy { name, .. } => ("put_policy", name.clone()),
        Action::DeletePolicy { name } => ("delete_policy", name.clone()),
        Action::PutWords { .. } => ("put_words", String::new()),
        Action::PutRoute { name, .. } => ("put_route", name.clone()),
        Action::DeleteRoute { name } => ("delete_route", name.clone()),
        Action::TripAccount { account, .. } => ("trip_account", account.clone()),
        Action::ProbeAccount { account, .. } => ("probe_account", account.clone()),
        Action::CloseAccount { account, .. } => ("close_account", account.clone()),
        Action::PutCallback { key, .. } => ("put_callback", key.clone()),
        Action::PutProvider { name, .. } => ("put_provider", name.clone()),
        Action::DeleteProvider { name } => ("delete_provider", name.clone()),
        Action::PutDisk { node, disk } => ("put_disk", format!("{node}: {disk}")),
        Action::ChangeDisk { node, disk, .. } => ("change_disk", format!("{node}: {disk}")),
        Action::KeepDisk { node } => ("keep_disk", node.to_string()),
        Action::AdmitDisk { node, disk } => ("admit_disk", format!("{node}: {disk}")),
        Action::ForceDisk { node, disk } => ("force_disk", format!("{node}: {disk}")),
        Action::RepairTime { repair, latest } => ("repair_time", format!("from {latest} to {}", repair.to)),
        Action::NoteSkip { group, term, index } => (SKIP, format!("{group}: entry {index} of term {term}")),
    }
}
