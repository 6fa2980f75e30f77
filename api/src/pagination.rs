//! Lists, page by page. A cursor is opaque to callers: the id of the last row they saw, or its place in
//! a history.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_shared::db::Page;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

const DEFAULT_LIMIT: i64 = 50;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<T> {
    /// The rows, oldest first unless the operation says otherwise.
    pub(crate) data: Vec<T>,
    /// Leads to the next page as `cursor`; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many rows at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<Limit>,
}

/// 1 to 200.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Limit(i64);

impl TryFrom<i64> for Limit {
    type Error = &'static str;

    fn try_from(limit: i64) -> Result<Self, Self::Error> {
        if (1..=200).contains(&limit) { Ok(Self(limit)) } else { Err("must be 1 to 200") }
    }
}

impl Limit {
    /// As many as a page may have.
    pub(crate) const MOST: Self = Self(200);

    /// The number, 50 unless the caller says otherwise.
    pub(crate) fn or_default(limit: Option<Self>) -> i64 {
        limit.map_or(DEFAULT_LIMIT, |limit| limit.0)
    }
}

/// A page, its cursor read.
#[derive(Debug)]
pub(crate) struct Wanted {
    after: Option<String>,
    limit: i64,
}

impl Wanted {
    /// Reads the cursor of a list of rows that `Id`s order.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when it is not one of ours.
    pub(crate) fn of<Id: FromStr>(query: &PageQuery) -> Result<Self, Problem> {
        let after = query.cursor.as_deref().map(|cursor| {
            decode(cursor).filter(|id| id.parse::<Id>().is_ok()).ok_or_else(|| bad_cursor("cursor"))
        });
        Ok(Self { after: after.transpose()?, limit: Limit::or_default(query.limit) })
    }

    /// What to ask the database for: one row more, to see whether there is another page.
    pub(crate) fn page(&self) -> Page<'_> {
        Page { after: self.after.as_deref(), limit: self.limit + 1 }
    }

    /// The page of these rows.
    pub(crate) fn list<Row, T>(
        &self,
        mut rows: Vec<Row>,
        position: impl Fn(&Row) -> String,
        view: impl FnMut(Row) -> T,
    ) -> List<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|row| encode(&position(row)));
        List { data: rows.into_iter().map(view).collect(), next_cursor }
    }
}

/// A cursor that no list of ours gave.
pub(crate) fn bad_cursor(parameter: &str) -> Problem {
    let message = "is not a cursor of this list: use `nextCursor` of an answer as it is, or none";
    Problem::invalid_query(parameter, message)
}

/// Makes a position opaque.
pub(crate) fn encode(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// Reads what [`encode`] made.
pub(crate) fn decode(cursor: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;
    use latchkey_shared::ids::{AccountId, ConnectId};

    use super::*;

    fn query(cursor: Option<String>, limit: i64) -> PageQuery {
        let limit = Some(limit.try_into().unwrap());
        PageQuery { cursor, limit }
    }

    #[test]
    fn a_cursor_leads_behind_the_last_row() {
        let clock = Clock::system();
        let ids: Vec<ConnectId> = (0..3).map(|_| ConnectId::new(&clock)).collect();
        let wanted = Wanted::of::<ConnectId>(&query(None, 2)).unwrap();
        assert_eq!(wanted.page().limit, 3);
        let list = wanted.list(ids.clone(), ConnectId::to_string, |id| id);
        assert_eq!(list.data, ids[..2]);

        let next = Wanted::of::<ConnectId>(&query(list.next_cursor, 2)).unwrap();
        assert_eq!(next.page().after, Some(ids[1].as_str()));
        let last = next.list(ids[2..].to_vec(), ConnectId::to_string, |id| id);
        assert_eq!(last.next_cursor, None);
    }

    #[test]
    fn another_lists_cursor_is_refused() {
        let account = encode(AccountId::new(&Clock::system()).as_str());
        for cursor in [account, "!".to_owned(), encode("con_1"), String::new()] {
            let wanted = Wanted::of::<ConnectId>(&query(Some(cursor.clone()), 1));
            assert!(wanted.is_err(), "{cursor}");
        }
    }

    #[test]
    fn limits_are_kept() {
        assert!(Limit::try_from(0).is_err());
        assert!(Limit::try_from(201).is_err());
        assert_eq!(Limit::or_default(None), 50);
    }
}
