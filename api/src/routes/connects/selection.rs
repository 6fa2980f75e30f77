//! Choosing what to connect: once, by the application or by the person, under the same rules.

use std::collections::HashSet;

use axum::http::StatusCode;
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::operations::handover;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ConnectView;
use super::candidates::{self, Choice, not_selecting};
use crate::code::Code;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;
use crate::validate::Checks;

const MAX_CHOSEN: usize = 200;

/// What is to be connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Selection {
    /// Ids of candidates that are eligible, each once; exactly one if the connect is exclusive, or names an
    /// account to reconnect.
    #[schema(min_items = 1, max_items = 200)]
    pub(super) candidate_ids: Vec<String>,
}

/// Writes the choice down and has a worker go on; what a person unticked on our page is disconnected then.
///
/// # Errors
/// When it is too late, or something else can be chosen than was.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    connect: &Connect,
    chosen: &[String],
    unticked: &[String],
) -> Result<ConnectView, Problem> {
    let key = connect.key();
    let choices = candidates::decrypt(&mut app.conn().await?, connect).await?;
    if connect.selection.is_some() {
        return Err(made());
    }
    check(connect, &choices, chosen)?;
    let mut work = app.store.begin().await?;
    if !connects::select(&mut work, key, chosen, unticked).await? {
        let now = connects::find(&mut work, key.workspace_id, key.id).await?;
        return Err(too_late(&now.ok_or_else(Problem::not_found)?));
    }
    handover::go_on(&mut work, key).await?;
    let now = connects::find(&mut work, key.workspace_id, key.id).await?;
    let view: ConnectView = now.ok_or_else(Problem::not_found)?.into();
    once.keep(&mut work, StatusCode::ACCEPTED, &view).await?;
    work.commit().await?;
    Ok(view)
}

/// Whether this can be chosen.
///
/// # Errors
/// `VALIDATION_FAILED`, with each id that cannot.
pub(crate) fn check(
    connect: &Connect,
    choices: &[Choice],
    chosen: &[String],
) -> Result<(), Problem> {
    const AT: &str = "/candidateIds";
    let mut checks = Checks::default();
    if connect.account_id.is_some() && chosen.len() != 1 {
        checks.wrong(AT, "must be exactly one: the connect is to reconnect one account");
    } else if connect.exclusive && chosen.len() != 1 {
        checks.wrong(AT, "must be exactly one: the connect is exclusive");
    } else if !(1..=MAX_CHOSEN).contains(&chosen.len()) {
        checks.wrong(AT, format!("must be 1 to {MAX_CHOSEN}"));
    }
    // A list that is too long is not walked.
    let chosen = &chosen[..chosen.len().min(MAX_CHOSEN)];
    let mut seen = HashSet::new();
    for (index, id) in chosen.iter().enumerate() {
        let choice = choices.iter().find(|choice| choice.candidate.id == *id);
        let at = format!("{AT}/{index}");
        match choice.map(|choice| choice.ineligible(connect)) {
            None => checks.wrong(at, "is none of the connect's candidates"),
            Some(Some(reason)) => checks.wrong(at, format!("cannot be connected: {reason}")),
            Some(None) if !seen.insert(id) => checks.wrong(at, "stands there twice"),
            Some(None) => {}
        }
    }
    Ok(checks.finish()?)
}

fn too_late(connect: &Connect) -> Problem {
    match (connect.status, &connect.selection) {
        (ConnectStatus::Selecting, Some(_)) => made(),
        (ConnectStatus::Selecting, None) => Problem::new(
            Code::ConnectNotSelecting,
            "The time to choose is over, and the connect is about to expire: start another one.",
        ),
        _ => not_selecting(connect),
    }
}

fn made() -> Problem {
    Problem::new(
        Code::SelectionMade,
        "A choice is made once, by the person or by a request; `GET` the connect to see how it goes on.",
    )
}

#[cfg(test)]
mod tests {
    use latchkey_shared::candidates::Candidate;

    use super::*;
    use crate::web::result_tests::connect;

    fn choice(id: &str, ineligible: Option<&str>) -> Choice {
        let candidate = Candidate {
            id: id.to_owned(),
            username: None,
            display_name: None,
            avatar_url: None,
            token: None,
            ineligible: ineligible.map(ToOwned::to_owned),
        };
        Choice { candidate, account: None }
    }

    fn pointers(reconnect: bool, chosen: &[&str]) -> Vec<String> {
        let mut connect = connect(ConnectStatus::Selecting, None);
        connect.account_id = reconnect.then(|| "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8".parse().unwrap());
        pointers_of(&connect, chosen)
    }

    fn pointers_of(connect: &Connect, chosen: &[&str]) -> Vec<String> {
        let choices = [choice("1", None), choice("2", None), choice("3", Some("ROLE_NOT_ENOUGH"))];
        let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        let Err(problem) = check(connect, &choices, &chosen) else { return Vec::new() };
        let problem = serde_json::to_value(problem.body("req_1")).unwrap();
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_wrong_choice_is_pointed_at() {
        assert_eq!(pointers(false, &["1"]), [""; 0]);
        assert_eq!(pointers(false, &["2", "1"]), [""; 0]);
        assert_eq!(pointers(false, &[]), ["/candidateIds"]);
        assert_eq!(pointers(false, &["1", "1"]), ["/candidateIds/1"]);
        assert_eq!(pointers(false, &["3", "1", "4"]), ["/candidateIds/0", "/candidateIds/2"]);
        let many = vec!["1"; MAX_CHOSEN + 1];
        assert_eq!(pointers(false, &many)[0], "/candidateIds");
    }

    #[test]
    fn a_reconnect_takes_one() {
        assert_eq!(pointers(true, &["1"]), [""; 0]);
        assert_eq!(pointers(true, &["1", "2"]), ["/candidateIds"]);
        assert_eq!(pointers(true, &[]), ["/candidateIds"]);
    }

    #[test]
    fn an_exclusive_connect_takes_one() {
        let mut exclusive = connect(ConnectStatus::Selecting, None);
        exclusive.exclusive = true;
        assert_eq!(pointers_of(&exclusive, &["1"]), [""; 0]);
        assert_eq!(pointers_of(&exclusive, &["1", "2"]), ["/candidateIds"]);
    }
}
