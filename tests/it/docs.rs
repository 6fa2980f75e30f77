//! The documents name what is in the code, and all of it where they promise a list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use latchkey_shared::boot::{EXIT_CODES, Exit};
use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::connects::ConnectStatus;
use latchkey_shared::db::grants::GrantStatus;
use latchkey_shared::db::webhook_deliveries::DeliveryStatus;
use latchkey_shared::events::EventType;
use latchkey_shared::messages::CommandKind;
use latchkey_shared::messages::requests::RequestKind;
use latchkey_shared::platforms::{BUILT_IN, Flow};
use latchkey_worker::settings::WorkerSettings;
use latchkey_worker::sweeps::Sweep;

const README: &str = "README.md";
const MAP: &str = "docs/ARCHITECTURE.md";
const PLATFORMS: &str = "docs/PLATFORMS.md";
const DOCUMENTS: [&str; 12] = [
    README,
    MAP,
    "docs/CONTRIBUTING.md",
    "docs/PUBLISHING.md",
    PLATFORMS,
    "docs/API.md",
    "docs/EVENTS.md",
    "docs/MESSAGING.md",
    "docs/examples/README.md",
    "docs/WEBHOOKS.md",
    "SECURITY.md",
    "docs/SECURITY.md",
];

fn path(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(inside)
}

fn read(inside: &str) -> String {
    std::fs::read_to_string(path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
}

/// What stands between back-ticks, fenced blocks aside.
fn quoted(document: &str) -> Vec<String> {
    let text = read(document);
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).map(ToOwned::to_owned).collect()
}

/// The cells of every table row.
fn rows(document: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn quoted_in(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The words of a text that begin with `prefix` and go on with what `is_part` takes.
fn words(text: &str, prefix: &str, is_part: fn(char) -> bool) -> BTreeSet<String> {
    let words = text.split(|char| !is_part(char));
    words.filter(|word| word.starts_with(prefix)).map(ToOwned::to_owned).collect()
}

fn is_metric_part(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_'
}

fn is_setting_part(char: char) -> bool {
    char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'
}

/// The Rust sources below these folders, comments left out.
fn sources(folders: &[&str]) -> Vec<String> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| path(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("the checkout has these folders") {
            let entry = entry.expect("nobody removes sources meanwhile").path();
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&entry).expect("sources are text");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                sources.push(code.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    sources
}

/// A path of the checkout, with the function it is about; `None` for what is no such path, or has a
/// part that stands for something.
fn as_path(quoted: &str) -> Option<(&str, Option<&str>)> {
    const FOLDERS: [&str; 8] =
        ["api", "docs", "migrations", "scripts", "shared", "tests", "worker", ".ci"];
    let (path, function) = match quoted.split_once("::") {
        Some((path, function)) => (path, Some(function)),
        None => (quoted, None),
    };
    let path = path.split_whitespace().next()?;
    let placeholder = path.contains(['<', '{', '*', '…']);
    let first = path.split_once('/').map(|(first, _)| first)?;
    (FOLDERS.contains(&first) && !placeholder).then_some((path, function))
}

#[test]
fn every_file_and_function_that_is_named_is_there() {
    let mut named = 0;
    for document in DOCUMENTS {
        for quoted in quoted(document) {
            let Some((file, function)) = as_path(&quoted) else {
                continue;
            };
            named += 1;
            assert!(path(file).exists(), "{document} names {file}");
            if let Some(function) = function {
                let defined = ["(", "<"].map(|then| format!("fn {function}{then}"));
                let source = read(file);
                let found = defined.iter().any(|text| source.contains(text));
                assert!(found, "{document} names {function} in {file}");
            }
        }
    }
    assert!(named > 50, "the documents name files: {named}");
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(document).parent().unwrap();
            let file = if file.is_empty() { PathBuf::from(document) } else { folder.join(file) };
            let there = read(file.to_str().unwrap()).to_lowercase();
            assert!(
                heading.is_empty()
                    || there.contains(&format!("\n## {}\n", heading.replace('-', " "))),
                "{document}: {target}"
            );
        }
    }
}

#[test]
fn every_file_of_the_code_map_s_lists_is_there() {
    let text = read(MAP);
    let map = text.split("\n## ").find(|part| part.starts_with("Code map\n")).unwrap();
    let below = |line: &str| {
        ["shared/src", "api/src", "worker/src", "tests/src"].into_iter().find(|folder| {
            let krate = folder.split('/').next().unwrap_or_default();
            line.starts_with(&format!("- **{krate}**"))
        })
    };
    let mut folder = "shared/src";
    for line in map.lines().filter(|line| !line.starts_with("- **migrations")) {
        folder = below(line).unwrap_or(folder);
        for name in quoted_in(line).iter().filter(|name| name.ends_with(".rs")) {
            assert!(path(folder).join(name).exists(), "{MAP} names {name} below {folder}");
        }
    }
}

/// Each metric with its labels.
fn metrics_of_the_code() -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&["api/src", "shared/src", "worker/src"]) {
        for (macro_name, then) in
            [("counter!(", ".increment("), ("gauge!(", ".set("), ("histogram!(", ".record(")]
        {
            for rest in source.split(macro_name).skip(1) {
                let call = rest.split(then).next().unwrap_or_default();
                let literals: Vec<&str> = call.split('"').collect();
                let labels = literals[2..]
                    .windows(2)
                    .filter(|pair| pair[1].trim_start().starts_with("=>"))
                    .map(|pair| pair[0].to_owned());
                metrics.entry(literals[1].to_owned()).or_default().extend(labels);
            }
        }
    }
    metrics
}

/// Roles of the database and users of the broker.
const USERS: [&str; 3] = ["latchkey_rows", "latchkey_api", "latchkey_worker"];

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let code = metrics_of_the_code();
    let table: BTreeMap<String, BTreeSet<String>> = rows(MAP)
        .into_iter()
        .filter_map(|row| {
            let name = quoted_in(&row[0]).into_iter().next()?;
            name.starts_with("latchkey_").then(|| (name, quoted_in(&row[1])))
        })
        .collect();
    assert_eq!(table, code);
    for document in DOCUMENTS {
        for name in words(&read(document), "latchkey_", is_metric_part) {
            let is_known = code.contains_key(&name) || USERS.contains(&name.as_str());
            assert!(is_known, "{document} names the metric {name}");
        }
    }
}

fn settings_of_the_code() -> BTreeSet<String> {
    let sources = sources(&["api/src", "shared/src", "worker/src", "tests/src"]);
    let settings = sources.iter().flat_map(|source| source.split("env = \"").skip(1));
    settings.filter_map(|rest| rest.split('"').next()).map(ToOwned::to_owned).collect()
}

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    let code = settings_of_the_code();
    let table: BTreeSet<String> = rows(README)
        .iter()
        .flat_map(|row| quoted_in(&row[0]))
        .filter(|name| name.contains('_') && name.chars().all(is_setting_part))
        .collect();
    assert_eq!(table, code);
    let compose = words(&read("compose.yaml"), "LATCHKEY_", is_setting_part);
    let of_tests = read("shared/src/failpoint.rs") + &read("scripts/test");
    let of_tests = words(&of_tests, "LATCHKEY_TEST_", is_setting_part);
    for document in DOCUMENTS {
        for name in words(&read(document), "LATCHKEY_", is_setting_part) {
            let known = [&code, &compose, &of_tests].iter().any(|names| names.contains(&name));
            assert!(known, "{document} names the setting {name}");
        }
    }
}

#[test]
fn the_table_of_settings_tells_the_defaults() {
    let api = latchkey_api::Cli::command();
    let worker = WorkerSettings::command();
    let commands = api.get_subcommands().chain([&worker]);
    let rows = rows(README);
    for argument in commands.flat_map(clap::Command::get_arguments) {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        let row = rows.iter().find(|row| quoted_in(&row[0]).contains(name));
        let told = quoted_in(&row.unwrap_or_else(|| panic!("{name} has no row"))[1]);
        for default in argument.get_default_values() {
            let default = default.to_str().unwrap();
            assert!(told.contains(default), "{README}: the default of {name} is {default}");
        }
    }
}

#[test]
fn the_table_of_exit_codes_is_that_of_the_code() {
    let rows = rows(README);
    let codes: Vec<i32> = Exit::ALL.iter().map(|exit| *exit as i32).collect();
    let told = rows.iter().filter_map(|row| row[0].trim_matches('`').parse().ok());
    assert_eq!(told.collect::<Vec<i32>>(), codes);
    for code in codes {
        assert!(EXIT_CODES.contains(&format!("  {code}  ")), "--help lacks {code}");
    }
}

#[test]
fn the_table_of_sweeps_is_that_of_the_code() {
    let rows = rows(MAP);
    for (sweep, schedule) in Sweep::ALL {
        let wanted = [format!("`{}`", sweep.as_str()), format!("`{schedule}`")];
        assert!(rows.iter().any(|row| row.starts_with(&wanted)), "{MAP} lacks {wanted:?}");
    }
}

#[test]
fn the_map_knows_every_word() {
    let known: BTreeSet<String> = quoted(MAP).into_iter().collect();
    let words = (EventType::ALL.iter().map(|word| word.as_str()))
        .chain(CommandKind::ALL.iter().map(|word| word.as_str()))
        .chain(RequestKind::ALL.iter().flat_map(|kind| [kind.as_str(), kind.done()]))
        .chain(ConnectStatus::ALL.iter().map(|word| word.as_str()))
        .chain(GrantStatus::ALL.iter().map(|word| word.as_str()))
        .chain(AccountStatus::ALL.iter().map(|word| word.as_str()))
        .chain(DeliveryStatus::ALL.iter().map(|word| word.as_str()));
    for word in words {
        assert!(known.contains(word), "{MAP} lacks `{word}`");
    }
    for migration in std::fs::read_dir(path("migrations")).unwrap() {
        let up = std::fs::read_to_string(migration.unwrap().path().join("up.sql")).unwrap();
        for table in up.split("CREATE TABLE ").skip(1) {
            let (name, rest) = table.split_once(' ').unwrap();
            let is_part = rest.starts_with("PARTITION OF");
            assert!(is_part || known.contains(name), "{MAP} lacks the table `{name}`");
        }
    }
}

#[test]
fn every_address_that_is_named_is_a_route() {
    let routes = latchkey_api::document().paths.paths;
    let ends = |char: char| char.is_whitespace() || "\"`?".contains(char);
    for document in DOCUMENTS {
        let text = read(document);
        // A variable of the shell stands for an id, and so does an example of one.
        let is_id = |part: &str| part.starts_with('$') || part.contains("_01");
        let is = |route: &str, path: &str| {
            route.split('/').count() == path.split('/').count()
                && route.split('/').zip(path.split('/')).all(|(of_route, of_path)| {
                    of_route == of_path || of_route.starts_with('{') && is_id(of_path)
                })
        };
        for rest in text.split("/v1/").skip(1) {
            let path = format!("/v1/{}", rest.split(ends).next().unwrap_or_default());
            let known = routes.keys().any(|route| is(route, &path))
                || path.ends_with('/') && routes.keys().any(|route| route.starts_with(&path));
            assert!(known, "{document} names {path}");
        }
    }
}

/// "2 h" in seconds; `None` where a token has no end.
fn lifetime(cell: &str) -> Option<u64> {
    let (number, unit) = cell.split_once(' ').unwrap_or_default();
    let unit = match unit {
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|number| number * unit)
}

#[test]
fn the_tables_of_platforms_are_those_of_the_code() {
    let rows = rows(PLATFORMS);
    for spec in BUILT_IN {
        let id = format!("`{}`", spec.id);
        let own: Vec<_> = rows.iter().filter(|row| row[0] == id).collect();
        assert_eq!(own.len(), 2, "{PLATFORMS} has a row in each table for {id}");
        let row = own[0];
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        assert_eq!(
            quoted_in(&row[1]),
            spec.version.into_iter().map(str::to_owned).collect(),
            "{id}"
        );
        let slash = if spec.quirks.redirect_slash { "/" } else { "" };
        let redirect = format!("{}/callback{slash}", spec.id.to_ascii_lowercase());
        let redirect = (spec.flow == Flow::AuthorizationCode).then_some(redirect);
        assert_eq!(quoted_in(&row[2]), redirect.into_iter().collect(), "{id}");
        assert_eq!(quoted_in(&row[3]), words(spec.default_scopes), "{id}");
        assert_eq!(lifetime(&row[4]), spec.token_lifetime.map(|time| time.as_secs()), "{id}");
        assert_eq!(quoted_in(&row[5]), words(&[spec.refresh.as_str()]), "{id}");
        let reach = spec.urls.revoke.map(|_| spec.reach.as_str().to_owned());
        assert_eq!(quoted_in(&row[6]), reach.into_iter().collect(), "{id}");
    }
    let ids = BUILT_IN.iter().map(|spec| format!("`{}`", spec.id)).collect::<Vec<_>>();
    let told = rows.iter().filter(|row| row[0].starts_with('`'));
    assert!(told.into_iter().all(|row| ids.contains(&row[0])), "{PLATFORMS} knows too many");
}

/// Whoever can set a variable of such a process could stop it anywhere.
/// With an option beside the user's name, rabbitmqctl of RabbitMQ 4 waits for a password that it never reads.
#[test]
fn what_reads_a_password_from_standard_input_has_no_options() {
    for file in ["docs/deploy/broker-users", "docs/MESSAGING.md", "README.md", "compose.yaml"] {
        let wrong = read(file)
            .lines()
            .find(|line| {
                line.contains("rabbitmqctl -")
                    && ["add_user", "change_password"].iter().any(|it| line.contains(it))
            })
            .map(str::to_owned);
        assert_eq!(wrong, None, "{file}");
    }
}

#[test]
fn what_is_shipped_has_no_failpoints() {
    let text = read("Dockerfile");
    let mut builds = text.lines().filter(|line| line.contains("cargo build")).peekable();
    assert!(builds.peek().is_some(), "Dockerfile builds nothing");
    assert!(builds.all(|line| line.contains("--no-default-features")), "it has failpoints");
}
