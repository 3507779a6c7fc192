//! Access tokens: one for the cluster, fetched by one, and nothing late counts.

use tidings_contract::{Outcome, Reason, Token, Uploaded};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{Answer, Command, HeldToken, Owner, Refusal, TokenAnswer, TokenCommand, What};

use super::fixture::{Fixture, sheet};

const ONE: Owner = Owner { node: 1, boot: 1 };
const TWO: Owner = Owner { node: 2, boot: 1 };
const HOUR: u64 = 3_600_000;

fn ask(fixture: &mut Fixture, command: TokenCommand) -> Result<TokenAnswer, Refusal> {
    match fixture.ask(Command::Token(command)) {
        Answer::Token(answer) => Ok(answer),
        Answer::Refused(refusal) => Err(refusal),
        other => panic!("not an answer about tokens: {other:?}"),
    }
}

fn claim(fixture: &mut Fixture, revision: u64, by: Owner) -> Result<TokenAnswer, Refusal> {
    ask(fixture, TokenCommand::Claim { account: "main".to_owned(), revision, by })
}

fn lease(fixture: &mut Fixture, revision: u64, by: Owner) -> u64 {
    match claim(fixture, revision, by) {
        Ok(TokenAnswer::Fetch { lease, .. }) => lease,
        other => panic!("no lease: {other:?}"),
    }
}

fn put(fixture: &mut Fixture, revision: u64, lease: u64, text: &str) -> Result<TokenAnswer, Refusal> {
    let sealed = Sealed(text.as_bytes().to_vec());
    ask(fixture, TokenCommand::Put { account: "main".to_owned(), revision, lease, sealed, good_ms: HOUR })
}

fn drop_token(fixture: &mut Fixture, number: u64) -> Result<TokenAnswer, Refusal> {
    ask(fixture, TokenCommand::Drop { account: "main".to_owned(), revision: 1, number })
}

fn held(fixture: &Fixture) -> Option<&HeldToken> {
    fixture.machine.token("main", 1, fixture.now)
}

/// A partition that holds a token of revision 1, put an hour before it expires; gives its number.
fn holding() -> (Fixture, u64) {
    let mut fixture = Fixture::owned();
    let number = lease(&mut fixture, 1, ONE);
    put(&mut fixture, 1, number, "first").expect("the lease is the newest");
    (fixture, number)
}

#[test]
fn one_of_many_who_claim_fetches_and_all_get_its_token() {
    let mut fixture = Fixture::owned();
    let number = lease(&mut fixture, 1, ONE);
    for node in 2..20 {
        let waiting = claim(&mut fixture, 1, Owner { node, boot: 1 });
        assert!(matches!(waiting, Ok(TokenAnswer::Wait { .. })), "{waiting:?}");
    }
    put(&mut fixture, 1, number, "first").expect("the lease is the newest");
    for node in 1..20 {
        let Ok(TokenAnswer::Held(token)) = claim(&mut fixture, 1, Owner { node, boot: 1 }) else { panic!("no token") };
        assert_eq!((token.number, token.sealed.0.as_slice()), (number, &b"first"[..]));
    }
}

#[test]
fn a_holder_of_a_lease_that_dies_is_replaced_and_its_late_result_is_refused() {
    let mut fixture = Fixture::owned();
    let dead = lease(&mut fixture, 1, ONE);
    fixture.pass(14_999);
    assert!(matches!(claim(&mut fixture, 1, TWO), Ok(TokenAnswer::Wait { .. })));
    fixture.pass(1);
    let alive = lease(&mut fixture, 1, TWO);
    assert_eq!(put(&mut fixture, 1, dead, "late"), Err(Refusal::Outdated));
    put(&mut fixture, 1, alive, "second").expect("the newest lease");
    assert_eq!(put(&mut fixture, 1, dead, "late"), Err(Refusal::Outdated));
    assert_eq!(held(&fixture).map(|token| token.number), Some(alive));
}

#[test]
fn a_claim_that_comes_twice_or_late_takes_no_lease_from_a_fetch_that_is_under_way() {
    let mut fixture = Fixture::owned();
    let number = lease(&mut fixture, 1, ONE);
    fixture.pass(14_000);
    assert_eq!(lease(&mut fixture, 1, ONE), number);
    fixture.pass(14_999);
    assert!(matches!(claim(&mut fixture, 1, TWO), Ok(TokenAnswer::Wait { .. })), "it lasts from the last claim on");
    put(&mut fixture, 1, number, "first").expect("the lease is the newest");
    assert_eq!(put(&mut fixture, 1, number, "twice"), Err(Refusal::Outdated));
    let Ok(TokenAnswer::Held(token)) = claim(&mut fixture, 1, ONE) else { panic!("no token") };
    assert_eq!((token.number, token.sealed.0.as_slice()), (number, &b"first"[..]));
}

#[test]
fn a_changed_account_forgets_its_token_and_nothing_of_the_old_one_counts() {
    let (mut fixture, number) = holding();
    let lease = lease(&mut fixture, 2, ONE);
    assert_eq!(held(&fixture), None);
    assert_eq!(claim(&mut fixture, 1, TWO), Err(Refusal::Outdated), "an old revision does not come back");
    assert_eq!(put(&mut fixture, 1, lease, "old"), Err(Refusal::Outdated));
    assert_eq!(drop_token(&mut fixture, number), Err(Refusal::Outdated));
    put(&mut fixture, 2, lease, "new").expect("the newest lease of the newest revision");
}

#[test]
fn a_token_is_renewed_by_one_while_the_others_go_on_with_the_old_one() {
    let (mut fixture, number) = holding();
    fixture.pass(HOUR * 4 / 5 - 1);
    assert!(matches!(claim(&mut fixture, 1, ONE), Ok(TokenAnswer::Held(_))));
    fixture.pass(1);
    let renewing = lease(&mut fixture, 1, ONE);
    let Ok(TokenAnswer::Held(old)) = claim(&mut fixture, 1, TWO) else { panic!("the old one is still good") };
    assert_eq!(old.number, number);
    put(&mut fixture, 1, renewing, "second").expect("the newest lease");
    assert!(renewing > number);
    assert_eq!(held(&fixture).map(|token| token.number), Some(renewing));
    fixture.pass(HOUR);
    assert_eq!(held(&fixture), None, "an expired token is not handed out");
}

#[test]
fn what_the_supplier_refuses_is_dropped_once_and_a_newer_one_is_not() {
    let (mut fixture, old) = holding();
    fixture.pass(60_000);
    assert_eq!(drop_token(&mut fixture, old), Ok(TokenAnswer::Dropped));
    let new = lease(&mut fixture, 1, TWO);
    put(&mut fixture, 1, new, "second").expect("the newest lease");
    let before = fixture.bytes();
    assert_eq!(drop_token(&mut fixture, old), Err(Refusal::Outdated));
    assert_eq!(before, fixture.bytes());
    assert_eq!(held(&fixture).map(|token| token.number), Some(new));
}

#[test]
fn an_account_whose_tokens_never_work_is_asked_ever_more_slowly() {
    let mut fixture = Fixture::owned();
    let (mut fetched, start) = (0, fixture.now);
    while fixture.now.since(start).as_secs() < 600 {
        match claim(&mut fixture, 1, ONE) {
            Ok(TokenAnswer::Fetch { lease, .. }) => {
                fetched += 1;
                put(&mut fixture, 1, lease, "useless").expect("the newest lease");
                drop_token(&mut fixture, lease).expect("it is the newest token");
            }
            Ok(TokenAnswer::Failing { again, reason }) => {
                assert_eq!(reason.code, "token_not_taken");
                assert!(again > fixture.now);
            }
            other => panic!("{other:?}"),
        }
        fixture.pass(100);
    }
    assert!((5..20).contains(&fetched), "{fetched} fetches in ten minutes");
}

#[test]
fn a_failed_fetch_is_told_to_everybody_and_waited_out() {
    let mut fixture = Fixture::owned();
    let first = lease(&mut fixture, 1, ONE);
    let reason = Reason::new("http_500", "no");
    let failed = TokenCommand::Failed { account: "main".to_owned(), revision: 1, lease: first, reason: reason.clone() };
    assert!(matches!(ask(&mut fixture, failed), Ok(TokenAnswer::Failing { .. })));
    let again = fixture.now.after_ms(1_000);
    assert_eq!(claim(&mut fixture, 1, TWO), Ok(TokenAnswer::Failing { reason, again }));
    fixture.pass(1_000);
    lease(&mut fixture, 1, TWO);
}

#[test]
fn an_idle_account_is_forgotten_and_no_number_comes_twice() {
    let (mut fixture, number) = holding();
    fixture.pass(2 * 86_400_000).ask(Command::Tick);
    assert_eq!(fixture.machine.outside_sizes().tokens, 0);
    assert!(lease(&mut fixture, 1, ONE) > number);
}

#[test]
fn an_attempt_with_a_token_or_a_file_gone_bad_is_repeated_at_once_but_only_once() {
    for code in [Token::INVALID, Uploaded::GONE] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        let invalid = || Outcome::later(code, "expired");
        fixture.report(id, 1, invalid());
        assert_eq!(fixture.pending(id).due, fixture.now);
        fixture.report(id, 2, invalid());
        assert!(fixture.pending(id).due > fixture.now, "twice in a row is no accident");
        assert!(fixture.pending(id).events.iter().any(|event| matches!(event.what, What::Retry { .. })));
    }
}
