//! Settings that are wrong: told all at once, by name, with what to do and nothing secret. And the
//! codes by which whoever started a process knows how it ended.

use std::process::Output;

use clap::CommandFactory as _;
use latchkey_shared::boot::Exit;
use latchkey_tests::app::{Options, Process, command};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::{Pool, WorkerSettings};
use serde_json::json;
use tokio::net::TcpListener;

const API: &str = "latchkey-api";
const WORKER: &str = "latchkey-worker";

/// Settings with which a process gets as far as looking for its database.
const GOOD: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
    ("AMQP_URL", "amqp://u:p@127.0.0.1:1"),
    ("LATCHKEY_KEYRING", "main:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("LATCHKEY_PLATFORMS_FILE", "/dev/null"),
];

async fn run(binary: &str, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = command(binary)?;
    Ok(command.args(args).env_clear().envs(env.iter().copied()).output().await?)
}

/// What a process says that refuses its settings.
async fn refusal(binary: &str, env: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = run(binary, &[], env).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(Exit::Settings as i32), "{env:?}: {said}");
    Ok(said)
}

#[tokio::test]
async fn without_any_setting_it_says_which_are_needed() -> anyhow::Result<()> {
    insta::assert_snapshot!(refusal(WORKER, &[]).await?, @r#"
    latchkey-worker: the settings are wrong; see `latchkey-worker --help`
      --database-url (DATABASE_URL): is missing. PostgreSQL: postgres://user:password@host:port/database; add ?sslmode=verify-full for TLS
      --amqp-url (AMQP_URL): is missing. RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// for TLS
      --platforms-file (LATCHKEY_PLATFORMS_FILE): is missing. Credentials and endpoints of platforms (TOML)
      --keyring (LATCHKEY_KEYRING), --keyring-file (LATCHKEY_KEYRING_FILE): one of the two is needed, and neither is set
    "#);
    insta::assert_snapshot!(refusal(API, &[]).await?, @r#"
    latchkey-api: the settings are wrong; see `latchkey-api --help`
      --database-url (DATABASE_URL): is missing. PostgreSQL: postgres://user:password@host:port/database; add ?sslmode=verify-full for TLS
      --amqp-url (AMQP_URL): is missing. RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// for TLS
      --platforms-file (LATCHKEY_PLATFORMS_FILE): is missing. Credentials and endpoints of platforms (TOML)
      --keyring (LATCHKEY_KEYRING), --keyring-file (LATCHKEY_KEYRING_FILE): one of the two is needed, and neither is set
    "#);
    Ok(())
}

#[tokio::test]
async fn all_that_is_wrong_with_the_api_s_is_told_at_once() -> anyhow::Result<()> {
    let api = refusal(
        API,
        &[
            ("DATABASE_URL", "postgres://u:shh@db.example/d?sslmode=require"),
            ("AMQP_URL", "amq://u:shh@mq.example"),
            ("LATCHKEY_KEYRING", "main:shh"),
            ("LATCHKEY_CA_FILE", "/nowhere/ca.pem"),
            ("LATCHKEY_PLATFORMS_FILE", "/nowhere/platforms.toml"),
            ("LATCHKEY_BROKER_PREFIX", "a b"),
            ("LATCHKEY_OUTBOUND_ALLOW", "10.0.0.0/8,everything"),
            ("LATCHKEY_OUTBOUND_PORTS", "80,http"),
            ("LATCHKEY_OUTBOUND_CA_FILE", "/nowhere/outside.pem"),
            ("LATCHKEY_OUTBOUND_PROXY", "https://u:shh@proxy.example"),
            ("LATCHKEY_LOG", "info,a=b=c"),
            ("LATCHKEY_LOG_FORMAT", "xml"),
            ("LATCHKEY_LISTEN", "8080"),
            ("LATCHKEY_METRICS_LISTEN", "localhost:9464"),
            ("LATCHKEY_PUBLIC_URL", "http://social.example"),
            ("LATCHKEY_CALLBACK_WAIT", "5s"),
            ("LATCHKEY_DB_CONNECTIONS", "many"),
            ("LATCHKEY_OUTBOX_MAX", "0"),
        ],
    )
    .await?;
    insta::assert_snapshot!(api, @r#"
    latchkey-api: the settings are wrong; see `latchkey-api --help`
      --broker-prefix (LATCHKEY_BROKER_PREFIX): `a b` must be 1 to 64 letters, digits, `-`, `_` or `.`
      --outbound-allow (LATCHKEY_OUTBOUND_ALLOW): `everything` must be a network, as in 10.0.0.0/8
      --public-url (LATCHKEY_PUBLIC_URL): `http://social.example` must be https://: codes and cookies pass there, and http is for loopback alone
      --outbox-max (LATCHKEY_OUTBOX_MAX): `0` must be 1 or more
      --outbound-ports (LATCHKEY_OUTBOUND_PORTS): `http` must be a port, or two as in 8000-8999
      --log-format (LATCHKEY_LOG_FORMAT): `xml` must be one of text, json
      --listen (LATCHKEY_LISTEN): `8080` must be an IP address and a port, as in 127.0.0.1:8080
      --metrics-listen (LATCHKEY_METRICS_LISTEN): `localhost:9464` must be an IP address and a port, as in 127.0.0.1:8080
      --callback-wait (LATCHKEY_CALLBACK_WAIT): `5s` must be a whole number of seconds, 1 to 86400
      --db-connections (LATCHKEY_DB_CONNECTIONS): `many` must be a whole number
      --ca-file (LATCHKEY_CA_FILE): /nowhere/ca.pem cannot be read: No such file or directory (os error 2)
      --database-url (DATABASE_URL): asks for an sslmode that does not check who answers: use sslmode=verify-full (with LATCHKEY_CA_FILE for a CA of your own), or sslmode=disable for none
      --keyring (LATCHKEY_KEYRING): the keyring is malformed: entry 1 has a key that is not base64
      --log (LATCHKEY_LOG): cannot be read: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
      --amqp-url (AMQP_URL): must be amqp://user:password@host:port/vhost, or amqps:// for TLS
      --outbound-ca-file (LATCHKEY_OUTBOUND_CA_FILE): /nowhere/outside.pem cannot be read: No such file or directory (os error 2)
      --outbound-proxy (LATCHKEY_OUTBOUND_PROXY): must be http://host:port, or http://user:password@host:port
      --platforms-file (LATCHKEY_PLATFORMS_FILE): the platforms file /nowhere/platforms.toml cannot be read: No such file or directory (os error 2)
    "#);
    assert!(!api.contains("shh"), "a secret is never shown");
    Ok(())
}

#[tokio::test]
async fn all_that_is_wrong_with_the_worker_s_is_told_at_once() -> anyhow::Result<()> {
    let worker = refusal(
        WORKER,
        &[
            ("DATABASE_URL", "shh"),
            ("LATCHKEY_KEYRING", "main:shh"),
            ("LATCHKEY_KEYRING_FILE", "/nowhere/keyring"),
            ("LATCHKEY_PLATFORMS_FILE", "/dev/null"),
            ("LATCHKEY_METRICS_LISTEN", ""),
            ("LATCHKEY_POOLS", "refresh,refresh"),
            ("LATCHKEY_CONCURRENCY", "0"),
            ("LATCHKEY_WEBHOOK_CONCURRENCY", "0"),
            ("LATCHKEY_DRAIN", "60"),
            ("LATCHKEY_TRUST_PRODUCERS", "maybe"),
            ("LATCHKEY_IN_DOUBT_LEAD", "1700"),
            ("LATCHKEY_SWEEPS", "prune=daily"),
        ],
    )
    .await?;
    insta::assert_snapshot!(worker, @r#"
    latchkey-worker: the settings are wrong; see `latchkey-worker --help`
      --concurrency (LATCHKEY_CONCURRENCY): `0` must be 1 to 1000
      --webhook-concurrency (LATCHKEY_WEBHOOK_CONCURRENCY): `0` must be 1 to 1000
      --trust-producers (LATCHKEY_TRUST_PRODUCERS): `maybe` must be one of true, false
      --amqp-url (AMQP_URL): is missing. RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// for TLS
      --database-url (DATABASE_URL): must be postgres://user:password@host:port/database
      --keyring (LATCHKEY_KEYRING), --keyring-file (LATCHKEY_KEYRING_FILE): both are set: keep one, the other is not read
      --pools (LATCHKEY_POOLS): names `refresh` twice: LATCHKEY_CONCURRENCY and more processes scale it
      --sweeps (LATCHKEY_SWEEPS): `daily` is no schedule for prune: The 'Seconds' field does not support using names. 'daily' specified.
      --drain (LATCHKEY_DRAIN), --call-timeout-rotating (LATCHKEY_CALL_TIMEOUT_ROTATING): started calls have 60 s, and one may take 120 s: cut off at shutdown, it loses its token
      --in-doubt-lead (LATCHKEY_IN_DOUBT_LEAD), --call-timeout-rotating (LATCHKEY_CALL_TIMEOUT_ROTATING): the lead is 1700 s, and must be less than 1680: a refresh begins 1800 s before the token's end and may take 120 s, and only after that it is in doubt
    "#);
    assert!(!worker.contains("shh"), "a secret is never shown");
    Ok(())
}

/// Each alone is fine.
#[tokio::test]
async fn settings_that_do_not_go_together_are_told() -> anyhow::Result<()> {
    for (binary, more, complaint) in [
        (API, &[("LATCHKEY_METRICS_LISTEN", "0.0.0.0:8080")][..], "are one address"),
        (API, &[("LATCHKEY_KEYRING_FILE", "/dev/null")], "both are set"),
        (API, &[("LATCHKEY_KEYRING", "")], "neither is set"),
        (WORKER, &[("LATCHKEY_POOLS", "webhook,webhook")], "names `webhook` twice"),
        (WORKER, &[("LATCHKEY_POOLS", "webhook,")], "must be one of requests, connect"),
        (WORKER, &[("LATCHKEY_DRAIN", "119")], "cut off at shutdown"),
        (
            WORKER,
            &[("LATCHKEY_DRAIN", "40"), ("LATCHKEY_CALL_TIMEOUT_ROTATING", "41")],
            "one may take 41 s",
        ),
        (WORKER, &[("LATCHKEY_IN_DOUBT_LEAD", "1680")], "must be less than 1680"),
        (WORKER, &[("LATCHKEY_SWEEPS", "dust=* * * * * *")], "names no sweep"),
        (WORKER, &[("LATCHKEY_SWEEPS", "prune=61 * * * * *")], "prune"),
    ] {
        let said = refusal(binary, &[&GOOD, more].concat()).await?;
        assert!(said.contains(complaint), "{more:?}: {said}");
        assert_eq!(said.lines().count(), 2, "nothing else is wrong: {said}");
    }
    Ok(())
}

/// What is wrong with one setting is not told again as a conflict with the default that took its place.
#[tokio::test]
async fn a_flag_is_as_wrong_as_a_variable_and_what_follows_from_it_is_not_told()
-> anyhow::Result<()> {
    let flags =
        ["serve", "--listen", "nowhere", "--metrics-listen=127.0.0.1:8080", "--outbox-max=-"];
    let output = run(API, &flags, &GOOD).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("--listen (LATCHKEY_LISTEN): `nowhere` must be"), "{said}");
    assert!(said.contains("--outbox-max (LATCHKEY_OUTBOX_MAX): `-` must be"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_flag_and_help_are_answered_as_everywhere() -> anyhow::Result<()> {
    for binary in [API, WORKER] {
        let unknown = run(binary, &["--no-such-flag"], &GOOD).await?;
        assert_eq!(unknown.status.code(), Some(Exit::Settings as i32));
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("Usage:"));
        for args in [["--help"], ["--version"]] {
            let asked = run(binary, &args, &[]).await?;
            assert_eq!(asked.status.code(), Some(Exit::Done as i32));
            assert!(asked.stderr.is_empty() && !asked.stdout.is_empty());
        }
    }
    Ok(())
}

#[tokio::test]
async fn help_tells_every_setting_with_its_default() -> anyhow::Result<()> {
    let api = latchkey_api::Cli::command();
    let worker = WorkerSettings::command();
    let subcommand = |command: &clap::Command| vec![command.get_name().to_owned()];
    let commands = (api.get_subcommands().map(|command| (API, subcommand(command), command)))
        .chain([(WORKER, Vec::new(), &worker)]);
    for (binary, mut args, clap) in commands {
        args.push("--help".to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = run(binary, &args, &[]).await?;
        let help = String::from_utf8(output.stdout)?;
        for arg in clap.get_arguments().filter(|arg| arg.get_env().is_some()) {
            let long = arg.get_long().unwrap_or_default();
            let env = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            let entry = help.split(&format!("\n      --{long} <")).nth(1);
            let entry = entry.unwrap_or_else(|| panic!("{binary} {args:?} lacks --{long}"));
            let entry = entry.split("\n      --").next().unwrap_or_default();
            assert!(entry.contains(&format!("[env: {env}")), "--{long}: {entry}");
            let told = entry.contains("[default:") || entry.contains("Required");
            assert!(told, "--{long} says neither its default nor that it is required: {entry}");
            let words = arg.get_help().map(|help| help.to_string().split_whitespace().count());
            assert!(words.is_some_and(|words| words > 2), "--{long} has no text");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_says_how_a_process_ended() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let away = run(API, &["migrate"], &GOOD).await?;
    assert_eq!(away.status.code(), Some(Exit::Database as i32));
    let said = String::from_utf8_lossy(&away.stderr);
    assert!(said.contains("PostgreSQL is unavailable") && said.contains("refused"), "{said}");

    for name in [API, WORKER] {
        let mut other = app.command(name)?;
        other.env("LATCHKEY_KEYRING", "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        other.env("LATCHKEY_LISTEN", "127.0.0.1:0");
        ends(other, Exit::Keyring, "is not the key that this database was sealed with").await?;

        let held = TcpListener::bind("127.0.0.1:0").await?;
        let mut second = app.command(name)?;
        second.env("LATCHKEY_LISTEN", "127.0.0.1:0");
        second.env("LATCHKEY_METRICS_LISTEN", held.local_addr()?.to_string());
        ends(second, Exit::Listen, "(LATCHKEY_METRICS_LISTEN)").await?;
    }
    app.execute("ALTER TABLE keyring_canaries RENAME TO canaries_of_tomorrow").await?;
    ends(app.command(WORKER)?, Exit::Schema, "run `latchkey-api migrate` first").await?;
    app.execute("ALTER TABLE canaries_of_tomorrow RENAME TO keyring_canaries").await?;
    app.finish().await
}

async fn ends(command: tokio::process::Command, exit: Exit, complaint: &str) -> anyhow::Result<()> {
    let process = Process::start(command)?;
    process.says(complaint).await?;
    assert_eq!(process.ended().await?.code(), Some(exit as i32), "{complaint}");
    Ok(())
}

/// A receiver that takes its time, and a worker that has less.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_cut_off_shows_in_the_code() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Sweeps];
    let mut app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let mute = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", mute.local_addr()?);
    let body = json!({ "url": url });
    let endpoint = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
    let worker = app.spawn_worker_with("webhook", &[("LATCHKEY_DRAIN", "1")]).await?;
    let connect = app.start_connect(json!({})).await?;
    app.approve(&connect, &Person::new("sam")?).await?.expect(303)?;
    let (call, _) = mute.accept().await?;
    assert_eq!(worker.terminate().await?.code(), Some(Exit::Drain as i32));

    drop(call);
    let id = endpoint["id"].as_str().unwrap_or_default();
    app.http.delete(&format!("/v1/webhook-endpoints/{id}")).await?.expect(204)?;
    app.add_worker_with(&app.worker_settings(vec![Pool::Webhook], 4)).await?;
    app.finish().await
}
