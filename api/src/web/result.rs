//! Where the application wants the browser back, with what became of the connect.

use latchkey_shared::db::connects::{Connect, ConnectStatus, ResultFormat};
use url::{Url, form_urlencoded};

use crate::compat::words;

/// The redirect URL with the result in the words of the door that the connect came through. Its own query
/// parameters are kept, except those with a name that a result may have: readers take the first of two. `None` where
/// the connect has none, or has one for a success and did not succeed.
///
/// `claim` is what the application's backend must bring back while the connect is `claiming`.
pub(crate) fn url(connect: &Connect, claim: Option<&str>) -> Option<Url> {
    let mut url = Url::parse(connect.redirect_url.as_deref()?).ok()?;
    let words = Words::of(connect.result_format);
    let connected = connect.status == ConnectStatus::Connected;
    if words.of_success && !connected {
        return None;
    }
    let ids = connect.account_ids.join(",");
    remove(&mut url, &words);
    {
        let mut query = url.query_pairs_mut();
        let mut tell = |name: &str, value: &str| {
            if !name.is_empty() {
                query.append_pair(name, value);
            }
        };
        let status = match claim {
            Some(_) => "claim",
            None if connected => "success",
            None => "error",
        };
        tell("status", status);
        tell(words.connect, connect.id.as_str());
        tell(words.workspace, connect.workspace_id.as_str());
        tell("platform", words.platform(&connect.platform));
        match claim {
            Some(claim) => tell("claim", claim),
            None if connected => tell(words.accounts, &ids),
            None => tell("error", &error(connect)),
        }
    }
    Some(url)
}

/// Removes the parameters that have a name of ours, and leaves the others as they were written.
fn remove(url: &mut Url, words: &Words) {
    let names =
        ["status", "platform", "claim", "error", words.connect, words.workspace, words.accounts];
    let is_ours = |part: &&str| {
        let name = form_urlencoded::parse(part.as_bytes()).next().map(|(name, _)| name);
        name.is_some_and(|name| names.contains(&name.as_ref()))
    };
    let Some(query) = url.query() else { return };
    let kept: Vec<&str> = query.split('&').filter(|part| !is_ours(part)).collect();
    let kept = kept.join("&");
    url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
}

/// What the parameters are called; those without a name are not sent.
struct Words {
    connect: &'static str,
    workspace: &'static str,
    accounts: &'static str,
    /// Whether the redirect is for a success alone: our page tells any other end.
    of_success: bool,
    platform_word: fn(&str) -> Option<&'static str>,
}

impl Words {
    const fn of(format: ResultFormat) -> Self {
        match format {
            ResultFormat::Native => Self {
                connect: "connectId",
                workspace: "workspaceId",
                accounts: "accountIds",
                of_success: false,
                platform_word: |_| None,
            },
            ResultFormat::Postpeer => Self {
                connect: "",
                workspace: "",
                accounts: "integrationIds",
                of_success: true,
                platform_word: words::postpeer,
            },
            ResultFormat::Woopsocial => Self {
                connect: "",
                workspace: "projectId",
                accounts: "socialAccountIds",
                of_success: false,
                platform_word: words::woopsocial,
            },
        }
    }

    fn platform<'a>(&self, platform: &'a str) -> &'a str {
        (self.platform_word)(platform).unwrap_or(platform)
    }
}

/// The OAuth code if the platform sent one with the browser, else our reason in lower_snake: what a
/// platform answered to a worker is in its own words, and not for the address bar.
fn error(connect: &Connect) -> String {
    let reason = connect.reason_code.as_deref();
    let by_browser = matches!(reason, Some("ACCESS_DENIED" | "PLATFORM_ERROR"));
    let said = connect.platform_error.as_ref().filter(|_| by_browser);
    let said = said.and_then(|error| error["error"].as_str());
    said.map(ToOwned::to_owned)
        .or(reason.map(str::to_ascii_lowercase))
        .unwrap_or_else(|| connect.status.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;
    use latchkey_shared::db::connects::Binding;
    use serde_json::{Value, json};

    use super::*;

    const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

    pub(crate) fn connect(status: ConnectStatus, redirect_url: Option<&str>) -> Connect {
        Connect {
            id: format!("con_{ULID}").parse().unwrap(),
            workspace_id: format!("ws_{ULID}").parse().unwrap(),
            platform: "SANDBOX".to_owned(),
            app_id: None,
            profile_id: None,
            account_id: None,
            grant_id: None,
            status,
            reason_code: None,
            platform_error: None,
            timeline: Value::Array(Vec::new()),
            redirect_url: redirect_url.map(ToOwned::to_owned),
            redirect_uri: String::new(),
            scopes: Vec::new(),
            metadata: json!({}),
            sealed_verifier: None,
            sealed_code: None,
            sealed_candidates: None,
            selection: None,
            deselection: Vec::new(),
            page_hash: None,
            account_ids: Vec::new(),
            lease_until: None,
            issuer: None,
            iss_required: false,
            binding: Binding::None,
            exclusive: false,
            result_format: ResultFormat::Native,
            sealed_state: None,
            sealed_claim: None,
            claimed_at: None,
            tries: 0,
            code_hash: None,
            expires_at: DateTime::UNIX_EPOCH,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn shown(connect: &Connect) -> String {
        url(connect, None).unwrap().to_string()
    }

    #[test]
    fn what_the_url_says_already_is_no_result() {
        let forged = "https://app.example/done?status=success&tab=a%20b&accountIds=acc_9&%73tatus=success\
                      &connectId=&error&claim=x&platform=X&workspaceId=1&a=1";
        let connect = connect(ConnectStatus::Cancelled, Some(forged));
        let expected = format!(
            "https://app.example/done?tab=a%20b&a=1&status=error&connectId=con_{ULID}\
             &workspaceId=ws_{ULID}&platform=SANDBOX&error=cancelled"
        );
        assert_eq!(shown(&connect), expected);
    }

    #[test]
    fn success_names_the_accounts_and_keeps_the_query() {
        let redirect = Some("https://app.example/done?tab=a%20b");
        let mut connect = connect(ConnectStatus::Connected, redirect);
        connect.account_ids = vec!["acc_1".to_owned(), "acc_2".to_owned()];
        let expected = format!(
            "https://app.example/done?tab=a%20b&status=success&connectId=con_{ULID}\
             &workspaceId=ws_{ULID}&platform=SANDBOX&accountIds=acc_1%2Cacc_2"
        );
        assert_eq!(shown(&connect), expected);
    }

    #[test]
    fn an_error_is_the_platforms_or_ours() {
        let mut connect = connect(ConnectStatus::Failed, Some("https://app.example/"));
        connect.reason_code = Some("EXCHANGE_INTERRUPTED".to_owned());
        assert!(shown(&connect).ends_with("&platform=SANDBOX&error=exchange_interrupted"));
        connect.platform_error = Some(json!({ "error": "AuthenticationRequired" }));
        assert!(shown(&connect).ends_with("&error=exchange_interrupted"), "a worker heard that");
        connect.reason_code = Some("PLATFORM_ERROR".to_owned());
        connect.platform_error = Some(json!({ "error": "server_error" }));
        assert!(shown(&connect).ends_with("&error=server_error"));
        assert!(shown(&connect).contains("?status=error&"));
    }

    #[test]
    fn each_door_has_its_own_words() {
        let mut connect = connect(ConnectStatus::Connected, Some("https://app.example/?a=b"));
        connect.account_ids = vec!["acc_1".to_owned()];
        connect.result_format = ResultFormat::Woopsocial;
        let expected = format!(
            "https://app.example/?a=b&status=success&projectId=ws_{ULID}&platform=WOOPTEST\
             &socialAccountIds=acc_1"
        );
        assert_eq!(shown(&connect), expected);
        connect.result_format = ResultFormat::Postpeer;
        connect.platform = "X".to_owned();
        let expected =
            "https://app.example/?a=b&status=success&platform=twitter&integrationIds=acc_1";
        assert_eq!(shown(&connect), expected);
        connect.status = ConnectStatus::Failed;
        assert_eq!(url(&connect, None), None, "PostPeer leads there after a success alone");
    }

    #[test]
    fn a_claim_says_nothing_of_accounts() {
        let connect = connect(ConnectStatus::Claiming, Some("https://app.example/"));
        let told = url(&connect, Some("abc")).unwrap().to_string();
        assert!(told.contains("?status=claim&connectId=con_"), "{told}");
        assert!(told.ends_with("&platform=SANDBOX&claim=abc"), "{told}");
    }

    #[test]
    fn an_end_without_a_reason_is_named_after_its_status() {
        let connect = connect(ConnectStatus::Cancelled, Some("https://app.example/"));
        assert!(shown(&connect).ends_with("&error=cancelled"));
    }

    #[test]
    fn a_platforms_words_cannot_add_parameters() {
        let mut connect = connect(ConnectStatus::Failed, Some("https://app.example/"));
        connect.reason_code = Some("PLATFORM_ERROR".to_owned());
        connect.platform_error = Some(json!({ "error": "x&status=success#y" }));
        assert!(shown(&connect).ends_with("&error=x%26status%3Dsuccess%23y"));
    }

    #[test]
    fn without_a_redirect_url_there_is_nowhere_to_go() {
        assert_eq!(url(&connect(ConnectStatus::Connected, None), None), None);
    }
}
