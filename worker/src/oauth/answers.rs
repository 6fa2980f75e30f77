//! The table of answers: every row of `answers.txt` is answered by a platform of our own, refreshed with as in
//! operation, and judged.
//!
//! `docs/PLATFORMS.md` holds the same table. After a change of the rows, run this test with `UPDATE_ANSWERS=1`
//! and read the difference.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use latchkey_shared::clock::Clock;
use latchkey_shared::credentials::Credentials;
use latchkey_shared::net_guard::{NetGuard, Ports};
use latchkey_shared::platforms::quirks::{Accounts, Inspection};
use latchkey_shared::platforms::{BUILT_IN, Endpoints, Platform, Platforms};
use latchkey_shared::tokens::TokenSet;

use super::doubles::Double;
use super::inspect::{Inspected, Inspector, inspect};
use super::refresh::{Presented, presented, refresh};
use super::refusal::{Doubt, FailureClass, TokenError};
use super::{AskError, CallError, CallTimeouts, PlatformHttp};

const ROWS: &str = include_str!("answers.txt");
const DOCUMENT: &str = "../docs/PLATFORMS.md";
const BEGIN: &str = "<!-- answers: written by worker/src/oauth/answers.rs -->\n";
const END: &str = "<!-- /answers -->\n";
const LIMIT: Duration = Duration::from_secs(20);

struct Row {
    platform: &'static str,
    status: &'static str,
    class: FailureClass,
    wait: Option<u64>,
    code: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static str,
    line: &'static str,
}

fn row(line: &'static str) -> Option<Row> {
    let mut parts = line.splitn(6, ' ');
    let (platform, status) = (parts.next()?, parts.next()?);
    let class = parts.next()?;
    let (class, wait) =
        class.split_once(':').map_or((class, None), |(class, wait)| (class, Some(wait)));
    let class = match class {
        "transient" => FailureClass::Transient,
        "answered" => FailureClass::InDoubt(Doubt::Answered),
        "silent" => FailureClass::InDoubt(Doubt::Silent),
        "dead" => FailureClass::Dead,
        "dead_if_repeated" => FailureClass::DeadIfRepeated,
        "checkpoint" => FailureClass::Checkpoint,
        "unclear" => FailureClass::Unclear,
        "consent" => FailureClass::NeedsConsent,
        "ours" => FailureClass::OurFault,
        _ => return None,
    };
    let wait = wait.map(|wait| wait.parse().unwrap());
    let (code, header) = (parts.next()?, parts.next()?.split_once('='));
    let body = parts.next().map(|body| if body == "-" { "" } else { body })?;
    Some(Row { platform, status, class, wait, code, header, body, line })
}

fn rows() -> Vec<Row> {
    let lines = ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| row(line).unwrap_or_else(|| panic!("no row: {line}"))).collect()
}

/// All built-in platforms and three providers of the operator's, all at this address.
fn platforms(url: &str) -> Platforms {
    const CLIENT: &str = "client_id = \"c\"\nclient_secret = { value = \"s\" }\n";
    let built_in = BUILT_IN.iter().map(|spec| match spec.id {
        "BLUESKY" => "[platforms.BLUESKY]\n".to_owned(),
        id => format!("[platforms.{id}]\n{CLIENT}base_url = \"{url}\"\n"),
    });
    let described = [
        ("ROTATING", ""),
        ("STABLE", "refresh = \"stable\""),
        ("NAMED", "dead_errors = [\"invalid_code\", \"Account is asleep\"]"),
    ];
    let described = described.map(|(id, more)| {
        format!(
            "[platforms.{id}]\n{CLIENT}name = \"N\"\nscopes = []\nauthorize_url = \"{url}/a\"\n\
             token_url = \"{url}/t\"\nuserinfo_url = \"{url}/u\"\n{more}\n"
        )
    });
    Platforms::parse(&built_in.chain(described).collect::<String>()).unwrap()
}

/// Where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// What a refresh, or an inspection, comes to.
async fn told(
    http: &PlatformHttp,
    platform: &Platform,
    endpoints: &Endpoints,
    host: &str,
) -> TokenError {
    let client =
        Credentials { client_id: "c".to_owned(), client_secret: "s".into(), older_secret: None };
    let tokens = TokenSet {
        access_token: "tok3n-of-access".into(),
        refresh_token: Some("tok3n-of-refresh".into()),
        subject: None,
        host: platform.quirks.own_host.then(|| host.parse().unwrap()),
    };
    if let Some(inspection) = inspection(platform) {
        let url = endpoints.inspect_url.as_ref().unwrap();
        let to = Inspector { url, inspection };
        return match inspect(http, platform, &to, &client, &tokens.access_token).await {
            Ok(Inspected::Invalid(refusal)) | Err(AskError::Said(refusal)) => {
                TokenError::Refused(refusal)
            }
            Err(AskError::Call(CallError::Busy { code, .. })) => {
                TokenError::Refused(super::refusal::Refusal::new(&code, None))
            }
            Err(AskError::Call(error)) => TokenError::Call(error),
            other => panic!("{other:?}"),
        };
    }
    let token = presented(platform, &tokens).unwrap();
    refresh(http, platform, endpoints, &client, Presented { tokens: &tokens, token })
        .await
        .unwrap_err()
}

fn inspection(platform: &Platform) -> Option<&'static Inspection> {
    match &platform.quirks.accounts {
        Accounts::Listed(listing) => listing.inspection.as_ref(),
        Accounts::Holder => None,
    }
}

fn in_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::InDoubt(Doubt::Answered) => "in doubt (answered)",
        FailureClass::InDoubt(Doubt::Silent) => "in doubt (silent)",
        FailureClass::Dead => "dead",
        FailureClass::DeadIfRepeated => "dead if repeated",
        FailureClass::Checkpoint => "checkpoint",
        FailureClass::Unclear => "unclear",
        FailureClass::NeedsConsent => "needs consent",
        FailureClass::OurFault => "our fault",
    }
}

/// A row of the document: what is shown of the error, and what it means.
fn shown(row: &Row, error: &TokenError) -> String {
    let said = error.to_json();
    let text = |name: &str| said[name].as_str().unwrap_or_default().replace('|', "\\|");
    let status = match (row.status, row.header) {
        ("cut", _) => "no answer".to_owned(),
        ("away", _) => "no connection".to_owned(),
        (status, Some((header, _))) => format!("{status}, `{header}`"),
        (status, None) => status.to_owned(),
    };
    let code = said["error"].as_str().map_or_else(|| error.code(), str::to_owned);
    let (subcode, words) = (text("subcode"), text("description"));
    let class = in_words(row.class);
    format!("| {} | {status} | `{code}` | {subcode} | {words} | {class} |\n", row.platform)
}

/// The document's table, or a new one written into it.
fn documented(table: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the document says where the table begins");
    let (old, after) = rest.split_once(END).expect("the document says where the table ends");
    if std::env::var_os("UPDATE_ANSWERS").is_none() {
        return old.to_owned();
    }
    std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    table.to_owned()
}

#[tokio::test]
async fn every_answer_means_what_the_table_says() {
    let double = Double::start();
    let nowhere = nowhere();
    let (here, away) = (platforms(&double.url), platforms(&nowhere));
    let guard = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
    let http = PlatformHttp::new(CallTimeouts { rotating: LIMIT, other: LIMIT }, &guard).unwrap();
    let mut table = "| Platform | HTTP status | Code | Subcode | Words | Class |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let mut wrong = String::new();
    for row in rows() {
        let (platforms, url) = match row.status {
            "away" => (&away, &nowhere),
            _ => (&here, &double.url),
        };
        match row.status.parse() {
            Ok(status) => double.answer(status, row.header.as_slice(), row.body),
            Err(_) => double.raw(""),
        }
        let platform = platforms.get(row.platform).unwrap();
        let endpoints = platforms.endpoints(platform, &Clock::system()).await.unwrap();
        let error = told(&http, platform, &endpoints, url).await;
        let wait = error.patience(platform).map(|wait| wait.as_secs());
        let judged = (error.class(platform), error.code().replace(' ', "_"), wait);
        if judged != (row.class, row.code.to_owned(), row.wait) {
            let _ = writeln!(wrong, "{judged:?} {:?}: {}", error.to_json(), row.line);
        }
        table.push_str(&shown(&row, &error));
    }
    assert!(wrong.is_empty(), "judged otherwise:\n{wrong}");
    println!("{table}");
    assert!(
        documented(&table) == table,
        "{DOCUMENT} has another table: set UPDATE_ANSWERS=1, and read it"
    );
}

/// Each platform has its rows, and each class.
#[test]
fn the_table_leaves_nothing_out() {
    let rows = rows();
    for spec in BUILT_IN {
        assert!(rows.iter().any(|row| row.platform == spec.id), "{}", spec.id);
    }
    let classes: Vec<&str> = rows.iter().map(|row| in_words(row.class)).collect();
    for class in ["dead if repeated", "checkpoint", "unclear", "in doubt (silent)"] {
        assert!(classes.contains(&class), "{class}");
    }
}
