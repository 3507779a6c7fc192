//! Whose disk counts: known, unknown, older, copied, heard of from others.

use std::collections::BTreeMap;

use tidings_machine::control::DiskId;

use super::disks::{DiskBook, Party};
use crate::store::{Heard, Position};

fn position(disk: u128, start: u64, mark: u64, syncs: u64) -> Position {
    Position { disk: DiskId(disk), start, mark, syncs }
}

fn said(position: Position) -> Heard {
    Heard { position, forked: false }
}

/// Meets a node, as an introduction that nothing happens beside.
async fn meet(book: &DiskBook, node: u64, theirs: Position) -> std::io::Result<Party> {
    book.accept(node, theirs, book.own(), book.moment_of(node)).await
}

#[tokio::test]
async fn a_disk_is_bound_to_its_number_by_the_first_word_and_then_by_control() {
    let book = DiskBook::blank(1);
    let (first, other) = (position(7, 1, 10, 5), position(8, 1, 20, 5));
    let party = meet(&book, 2, first).await.expect("written");
    assert!(book.hear(&party, 6));
    let doubt = book.judge(2, &other).expect_err("2 is known by another disk");
    assert!(!doubt.renew && doubt.why.contains("is not the one that the cluster knows"), "{doubt}");
    assert_eq!(book.applicants(), BTreeMap::from([(2, DiskId(8))]), "the leader of control gets to hear of it");
    book.set_word(&BTreeMap::from([(2, DiskId(8))]), std::iter::once(DiskId(7)).collect::<Vec<_>>().into_iter());
    assert!(book.judge(2, &other).is_ok(), "control took it in");
    assert!(!book.hear(&party, 7), "and frames of the old one count no more, on a connection that is open already");
    let doubt = book.judge(2, &first).expect_err("it was given up");
    assert!(doubt.renew, "it may come back as another one: {doubt}");
}

#[tokio::test]
async fn a_process_on_an_older_start_and_a_second_one_in_the_same_start_are_refused() {
    let book = DiskBook::blank(1);
    let old = meet(&book, 2, position(7, 3, 10, 5)).await.expect("written");
    meet(&book, 2, position(7, 4, 20, 6)).await.expect("written");
    assert!(!book.hear(&old, 9), "a connection of the life before");
    assert!(book.judge(2, &position(7, 3, 10, 9)).is_err(), "its start 4 was heard of");
    let copied = book.judge(2, &position(7, 4, 21, 9)).expect_err("two processes in start 4");
    assert!(copied.renew && copied.why.contains("was copied"), "{copied}");
    assert!(book.judge(2, &position(7, 4, 20, 6)).is_ok(), "the one that is known goes on");
    assert!(book.judge(2, &position(7, 5, 30, 6)).is_ok(), "and so does a later start");
}

#[tokio::test]
async fn what_others_heard_counts_as_heard() {
    let book = DiskBook::blank(1);
    let party = meet(&book, 2, position(7, 3, 10, 5)).await.expect("written");
    assert_eq!(book.merge(3, &[(2, said(position(7, 3, 10, 50)))]), None);
    assert_eq!(book.moment_of(2).map(|moment| moment.syncs), Some(50));
    assert!(book.hear(&party, 20), "what came in late is no harm");
    assert_eq!(book.moment_of(2).map(|moment| moment.syncs), Some(50));
    book.merge(2, &[(2, said(position(7, 9, 90, 90)))]);
    assert_eq!(book.moment_of(2).map(|moment| moment.start), Some(3), "of itself a node speaks when it meets us");
    book.merge(3, &[(2, said(position(7, 3, 11, 6)))]);
    assert!(!book.hear(&party, 60), "node 3 met another process in start 3: the disk was copied");
    assert!(book.judge(2, &position(7, 4, 1, 70)).is_err(), "and no start of it counts any more");
}

#[tokio::test]
async fn a_node_hears_that_its_own_disk_is_behind() {
    let book = DiskBook::blank(1);
    let own = book.position();
    let later = Position { start: own.start + 1, ..own };
    let heard = book.merge(2, &[(1, said(later))]).expect("it is about us");
    let doubt = book.was_ours(&heard).expect_err("we know nothing of that start");
    assert!(doubt.renew && doubt.why.contains("put back to an earlier state"), "{doubt}");
    assert!(book.was_ours(&own).is_ok());
    book.renew(own.disk, &doubt.why).await.expect("renewed");
    assert_ne!(book.own(), own.disk);
    assert!(book.was_ours(&heard).is_ok(), "that was another disk");
    assert!(book.unaccepted().is_some(), "which counts for nothing yet");
}

#[tokio::test]
async fn no_peer_makes_us_remember_disks_without_end() {
    let book = DiskBook::blank(1);
    let many: Vec<_> = (2..10_000).map(|node| (node, said(position(u128::from(node), 1, 1, 1)))).collect();
    book.merge(2, &many);
    let all = (0..10_000).filter(|node| book.moment_of(*node).is_some()).count();
    assert_eq!(all, super::disks::MOST);
    let refused = meet(&book, 20_000, position(20_000, 1, 1, 1)).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn a_meeting_as_a_disk_that_was_given_up_meanwhile_counts_for_nothing() {
    let book = DiskBook::blank(1);
    let own = book.own();
    assert!(book.is_still(own).is_ok());
    book.renew(own, "it was found to be behind on another connection").await.expect("renewed");
    let doubt = book.is_still(own).expect_err("the word of this meeting is that of the old disk");
    assert!(!doubt.renew, "it was renewed already: {doubt}");
    assert!(book.accept(2, position(7, 1, 10, 5), own, None).await.is_err(), "and so is what would be said on it");
    assert_eq!(book.moment_of(2), None);
}

#[tokio::test]
async fn a_meeting_does_not_cover_what_was_heard_of_a_disk_while_it_went_on() {
    let book = DiskBook::blank(1);
    meet(&book, 2, position(7, 1, 10, 5)).await.expect("written");
    let asked = book.moment_of(2);
    book.merge(3, &[(2, said(position(7, 1, 10, 50)))]);
    let again = position(7, 2, 20, 6);
    assert!(book.accept(2, again, book.own(), asked).await.is_err(), "it was not asked whether it had 50 syncs");
    assert_eq!(book.moment_of(2).map(|moment| moment.syncs), Some(50), "and that is not forgotten");
    assert!(meet(&book, 2, again).await.is_ok(), "it is asked the next time");
}
