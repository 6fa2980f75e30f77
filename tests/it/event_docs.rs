//! The catalogue of events in the documents is that of the code.

use latchkey_shared::events::{EventType, example};
use serde_json::Value;

const CATALOGUE: &str = "docs/EVENTS.md";

fn document() -> Value {
    latchkey_api::asyncapi_document()
}

/// Every member of a schema that is no reference to all events' own, with what it says of itself.
fn members(schema: &Value) -> Vec<(String, String)> {
    let own = schema["properties"].as_object().into_iter().flatten();
    let own = own.map(|(name, member)| (name.clone(), told(member)));
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let inherited = parts.filter(|part| part["$ref"].is_null());
    let inherited = inherited.flat_map(members);
    own.chain(inherited).collect()
}

/// A member that may be null says it beside what it otherwise is.
fn told(member: &Value) -> String {
    let own = &member["description"];
    let meaning = if own.is_null() { &member["oneOf"][0]["description"] } else { own };
    meaning.as_str().expect("every member says what it is").replace('\n', " ")
}

/// A list of members as the catalogue has it.
fn list(document: &Value, schema: &str) -> String {
    let members = members(&document["components"]["schemas"][schema]).into_iter();
    members.map(|(member, meaning)| format!("- `{member}`: {meaning}\n")).collect()
}

/// What the catalogue must say of one type. Members that an earlier type has as well are told there.
fn section(document: &Value, kind: EventType) -> String {
    let (name, _) = kind.schema();
    let first = EventType::ALL.iter().find(|other| other.schema().0 == name);
    let members = match first {
        Some(first) if *first != kind => format!("Its `data` are those of `{first}`.\n"),
        _ => list(document, &name),
    };
    let example = serde_json::to_string(&example(kind)).expect("events are always JSON");
    let description = kind.description();
    format!("### {kind}\n\n{description}\n\n{members}\n```json\n{example}\n```\n")
}

#[test]
fn the_catalogue_tells_what_is_sent() {
    let document = document();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(CATALOGUE);
    let text = std::fs::read_to_string(path).unwrap();
    let about = list(&document, "AboutAccount");
    assert!(text.contains(&about), "{CATALOGUE} must say:\n\n{about}");
    let sections = EventType::ALL.iter().map(|kind| section(&document, *kind));
    let missing: Vec<String> = sections.filter(|wanted| !text.contains(wanted)).collect();
    assert!(missing.is_empty(), "{CATALOGUE} must say:\n\n{}", missing.join("\n"));
    let headings = text.lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(headings, EventType::ALL.len(), "and of nothing else");
}
