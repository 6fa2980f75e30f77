//! What is connected, and the person left out where several can be chosen: going on disconnects it, once the page has
//! said so.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::connects::Connect;

use crate::routes::connects::candidates::Choice;

/// What going on disconnects.
#[derive(Clone, Debug)]
pub(super) struct Unticked {
    pub(super) id: String,
    pub(super) name: String,
}

/// What is connected and was left out, where several can be chosen.
pub(super) fn unticked(connect: &Connect, choices: &[Choice], chosen: &[String]) -> Vec<Unticked> {
    if takes_one(connect) {
        return Vec::new();
    }
    let profile = connect.profile_id.as_ref();
    let left_out = |choice: &&Choice| {
        let Some(account) = &choice.account else { return false };
        account.status != AccountStatus::Disconnected
            && !account.is_of_another(profile)
            && choice.ineligible(connect).is_none()
            && !chosen.contains(&choice.candidate.id)
    };
    let left_out = choices.iter().filter(left_out);
    let named = |choice: &Choice| Unticked { id: choice.candidate.id.clone(), name: name(choice) };
    left_out.map(named).collect()
}

/// One is wanted, not several.
pub(super) fn takes_one(connect: &Connect) -> bool {
    connect.account_id.is_some() || connect.exclusive
}

pub(super) fn name(choice: &Choice) -> String {
    let candidate = &choice.candidate;
    let name = candidate.display_name.clone().or_else(|| candidate.username.clone());
    name.unwrap_or_else(|| candidate.id.clone())
}
