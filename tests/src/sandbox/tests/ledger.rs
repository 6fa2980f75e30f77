//! The ledger: complete, before the answer, and without secrets.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn every_effect_is_written_down_without_a_secret() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    let next = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    client.userinfo(&next.access).await.unwrap();
    client.revoke(&next.refresh).await.unwrap();

    let ledger = client.sandbox.ledger();
    let kinds: Vec<Kind> = ledger.iter().map(|entry| entry.kind).collect();
    let expected = [
        Kind::Consent,
        Kind::CodeExchanged,
        Kind::Refreshed,
        Kind::Identity,
        Kind::Revoked,
        Kind::FamilyRevoked,
    ];
    assert_eq!(kinds, expected);
    assert!((1..).zip(&ledger).all(|(seq, entry)| entry.seq == seq));
    assert!(ledger.iter().all(|entry| entry.user.as_deref() == Some("sam")));
    assert!(ledger.iter().all(|entry| entry.family == ledger[0].family));
    assert_eq!(ledger[2].presented, Some(fingerprint(&pair.refresh)));
    assert_eq!(ledger[2].issued, [fingerprint(&next.access), fingerprint(&next.refresh)]);

    let dump = serde_json::to_string(&ledger).unwrap();
    let secrets = client.sandbox.secrets();
    assert_eq!(secrets.len(), 1 + 1 + 4, "the client's secret, a code and two pairs");
    assert!(secrets.iter().all(|secret| !dump.contains(secret)));
}

#[tokio::test]
async fn a_client_that_hangs_up_changes_nothing() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    let slow = Fault::Delay { ms: 400 };
    client.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, slow).times(1));
    let hung_up = tokio::time::timeout(Duration::from_millis(50), client.refresh(&pair.refresh));
    assert!(hung_up.await.is_err());
    assert_eq!(client.count(Kind::Refreshed), 0);
    until(|| client.count(Kind::Refreshed) == 1).await;
}

#[tokio::test]
async fn of_two_calls_that_overlap_the_later_says_so() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    let slow = Fault::Delay { ms: 400 };
    client.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, slow).after());
    let (one, other) = tokio::join!(client.refresh(&pair.refresh), client.refresh(&pair.refresh));
    assert_ne!(one.unwrap().status(), other.unwrap().status());
    let counts = client.sandbox.ledger().iter().map(|entry| entry.open_calls).max();
    assert_eq!(counts, Some(2));
    client.sandbox.clear_faults();
    client.refresh(&pair.refresh).await.unwrap();
    assert_eq!(client.sandbox.ledger().last().unwrap().open_calls, 1);
}

#[tokio::test]
async fn the_file_has_each_entry_before_the_answer_is_sent() {
    let path = std::env::temp_dir().join(format!("{}.jsonl", latchkey_shared::random::token()));
    let ledger_file = Some(path.clone());
    let client = Client::start(SandboxConfig { ledger_file, ..SandboxConfig::default() }).await;
    client.connect("sam").await;
    let text = std::fs::read_to_string(&path).unwrap();
    let entries: Vec<LedgerEntry> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries, client.sandbox.ledger());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn the_control_api_answers_the_same() {
    let client = Client::default().await;
    client.connect("sam").await;
    client.connect("kim").await;
    let get = |path: &str| {
        let request = client.http.get(client.at(path));
        async { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let entries = get("/control/ledger?user=kim&kind=code_exchanged&after=1").await;
    assert_eq!(entries["entries"].as_array().unwrap().len(), 1);
    let removed = client.http.post(client.at("/control/users/kim/revoke")).send().await.unwrap();
    assert_eq!(removed.json::<Value>().await.unwrap()["families"].as_array().unwrap().len(), 1);
    let families = get("/control/families?user=kim").await;
    assert_eq!(families["families"][0]["alive"], false);
    assert_eq!(families["families"][0]["ended"], "removed_by_person");
    assert_eq!(get("/control/families?user=sam").await["families"][0]["alive"], true);
}
