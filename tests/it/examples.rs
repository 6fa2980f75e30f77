//! The examples of the documents, run as a reader would type them, in one shell from top to bottom.
//!
//! A block of `sh` prints JSON; the block of `json` after it, one value for each, is what a reader is told
//! to expect: what stands there must be in the answer, `…` stands for any text.

use anyhow::{Context as _, ensure};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, WORN, worn};
use serde_json::Value;
use tokio::process::Command;

/// What the shell knows beforehand: definitions, and variables.
type Shell<'a> = (&'a str, &'a [(&'a str, String)]);

/// One command of a document, and what it says comes of it.
struct Example {
    line: usize,
    script: String,
    expected: Vec<Value>,
}

fn examples(document: &str) -> anyhow::Result<Vec<Example>> {
    let path = format!("{}/../{document}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let mut examples: Vec<Example> = Vec::new();
    let mut open: Option<(String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (Some((language, body)), Some("")) => {
                match language.as_str() {
                    "sh" => examples.push(Example {
                        line: number,
                        script: std::mem::take(body),
                        expected: Vec::new(),
                    }),
                    "json" => {
                        let last = examples.last_mut().context("JSON follows a command")?;
                        let values = serde_json::Deserializer::from_str(body).into_iter();
                        last.expected = values
                            .collect::<Result<_, _>>()
                            .with_context(|| format!("{document}:{number}: {body}"))?;
                    }
                    other => anyhow::bail!("{document}:{number}: a block of `{other}`"),
                }
                open = None;
            }
            (Some((_, body)), _) => body.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    Ok(examples)
}

/// Runs them in one shell, with these variables; answers what each printed.
async fn run(examples: &[Example], (prelude, variables): Shell<'_>) -> anyhow::Result<Vec<String>> {
    const END: &str = "=== end of an example ===";
    let blocks = examples.iter().map(|example| format!("{}\necho '{END}'\n", example.script));
    let script = format!("set -euo pipefail\n{prelude}\n{}", blocks.collect::<String>());
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).envs(variables.iter().map(|(name, value)| (name, value)));
    let done = shell.output().await.context("bash runs")?;
    let (out, err) = (String::from_utf8(done.stdout)?, String::from_utf8_lossy(&done.stderr));
    let mut printed: Vec<String> = out.split(END).map(ToOwned::to_owned).collect();
    printed.pop();
    let failed = examples.get(printed.len()).map_or(0, |example| example.line);
    ensure!(done.status.success(), "the command that ends at line {failed} failed: {err}\n{out}");
    Ok(printed)
}

/// Whether what is expected is there; more may be.
fn is_there(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| is_there(value, found))),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(one, other)| is_there(one, other))
        }
        (Value::String(expected), Value::String(found)) => match expected.split_once('…') {
            Some((begin, end)) => found.starts_with(begin) && found.ends_with(end),
            None => expected == found,
        },
        (expected, found) => expected == found,
    }
}

/// Runs examples and compares.
async fn check(examples: &[Example], shell: Shell<'_>) -> anyhow::Result<()> {
    let printed = run(examples, shell).await?;
    for (example, printed) in examples.iter().zip(&printed) {
        let found: Vec<Value> = serde_json::Deserializer::from_str(printed)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let there = example.expected.iter().zip(&found).all(|(one, other)| is_there(one, other));
        ensure!(
            there && example.expected.len() <= found.len(),
            "what ends at line {} printed {printed}",
            example.line
        );
    }
    Ok(())
}

/// The commands by which the README has a reader try it out, without the line that a test cannot type.
fn readme() -> anyhow::Result<Example> {
    const ENV: &str = ". .run/env\n";
    let text = std::fs::read_to_string(format!("{}/../README.md", env!("CARGO_MANIFEST_DIR")))?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let tried = blocks.filter_map(|block| block.strip_prefix(ENV)).next();
    let script = tried.context("the README has a block that begins with `. .run/env`")?.to_owned();
    Ok(Example { line: 0, script, expected: Vec::new() })
}

/// One page after the other, in one shell that knows what `scripts/run` wrote down; then what the README has one try.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_pages_works() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { platforms: worn(&WORN), ..Options::default() }).await?;
    let variables = [
        ("LATCHKEY_URL", app.http.base().to_owned()),
        ("LATCHKEY_API_KEY", app.owner.expose_key().to_owned()),
        ("LATCHKEY_WORKSPACE", app.owner.workspace_id.to_string()),
        ("LATCHKEY_SANDBOX_URL", app.sandbox.url().to_owned()),
    ];
    let (api, others) = (examples("docs/API.md")?, examples("docs/MIGRATING.md")?);
    ensure!(api.len() >= 9 && others.len() >= 7, "{} and {} examples", api.len(), others.len());
    // A refusal fails the shell, but where the page says that it comes.
    let strict = "curl() { command curl --fail-with-body \"$@\"; }".to_owned();
    let strict = Example { line: 0, script: strict, expected: Vec::new() };
    let all: Vec<Example> =
        api.into_iter().chain([strict]).chain(others).chain([readme()?]).collect();
    let checked = check(&all, ("", &variables)).await;
    checked.inspect_err(|error| eprintln!("{error:?}"))?;
    app.until_none("grants WHERE status = 'releasing'").await?;
    app.finish().await
}
