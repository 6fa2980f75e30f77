//! The platforms as a table for a terminal: the same rows as `GET /v1/platforms`. Asks nobody anything.

use latchkey_shared::platforms::Platforms;

use crate::routes::platforms::{PlatformView, all};

const COLUMNS: usize = 9;
const HEAD: [&str; COLUMNS] =
    ["ID", "NAME", "FLOW", "CONFIGURED", "ACCOUNTS", "SCOPES", "TOKEN LIVES", "REFRESH", "REVOKES"];

/// All platforms that this installation knows, one a line.
#[must_use]
pub fn platform_table(platforms: &Platforms) -> String {
    let rows: Vec<[String; COLUMNS]> = std::iter::once(HEAD.map(ToOwned::to_owned))
        .chain(all(platforms).iter().map(cells))
        .collect();
    let widths = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    rows.iter().map(|row| line(row, widths)).collect()
}

/// Of scopes the number: the list would break every line, and the API tells it.
fn cells(platform: &PlatformView) -> [String; COLUMNS] {
    let scopes = platform.default_scopes.len();
    [
        platform.id.clone(),
        platform.name.clone(),
        platform.flow.to_owned(),
        if platform.configured { "yes" } else { "no" }.to_owned(),
        platform.accounts.to_owned(),
        if platform.scopes_fixed { format!("{scopes} fixed") } else { scopes.to_string() },
        platform.token_lifetime_seconds.map_or_else(|| "-".to_owned(), duration),
        platform.refresh_model.to_owned(),
        match (platform.revocation.supported, platform.revocation.reach) {
            (Some(true), Some(reach)) => reach.to_owned(),
            (Some(_), _) => "nothing".to_owned(),
            (None, reach) => format!("{}?", reach.unwrap_or_default()),
        },
    ]
}

/// In the largest unit that says it exactly.
fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let unit = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match unit {
        // Up to three days the hours are what people have in mind.
        Some((86_400, _)) if seconds < 3 * 86_400 => format!("{} h", seconds / 3600),
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

fn line(cells: &[String; COLUMNS], widths: [usize; COLUMNS]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let line = padded.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use latchkey_shared::platforms::BUILT_IN;

    use super::*;

    const MINE: &str = "[platforms.X]\nclient_id = \"c\"\nclient_secret = { value = \"shh\" }\n\
        [platforms.MINE]\nname = \"Mine\"\nissuer = \"https://id.example\"\nscopes = []\n\
        client_id = \"c\"\nclient_secret = { value = \"shh\" }\n";

    /// What the API answers is made of the same rows.
    #[test]
    fn the_table_says_what_the_api_says() {
        let platforms = Platforms::parse(MINE).unwrap();
        let table = platform_table(&platforms);
        assert!(!table.contains("shh"), "{table}");
        let views = all(&platforms);
        assert_eq!(views.len(), BUILT_IN.len() + 1);
        assert_eq!(table.lines().count(), views.len() + 1);
        for (line, view) in table.lines().skip(1).zip(&views) {
            let view = serde_json::to_value(view).unwrap();
            let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            let mut next = || cells.next().unwrap_or_default();
            for key in ["id", "name", "flow"] {
                assert_eq!(next(), view[key], "{line}");
            }
            assert_eq!(next(), if view["configured"] == true { "yes" } else { "no" }, "{line}");
            assert_eq!(next(), view["accounts"], "{line}");
            let fixed = if view["scopesFixed"] == true { " fixed" } else { "" };
            let scopes = view["defaultScopes"].as_array().unwrap().len();
            assert_eq!(next(), format!("{scopes}{fixed}"), "{line}");
            let lifetime = view["tokenLifetimeSeconds"].as_u64();
            assert_eq!(next(), lifetime.map_or_else(|| "-".to_owned(), duration), "{line}");
            assert_eq!(next(), view["refreshModel"], "{line}");
            let reach = view["revocation"]["reach"].as_str().unwrap_or("nothing");
            let asked = view["revocation"]["supported"].is_boolean();
            assert_eq!(
                next(),
                if asked { reach.to_owned() } else { format!("{reach}?") },
                "{line}"
            );
        }
    }

    #[test]
    fn lifetimes_are_told_as_people_say_them() {
        for (seconds, told) in [
            (3600, "1 h"),
            (7200, "2 h"),
            (86_400, "24 h"),
            (30 * 86_400, "30 d"),
            (90, "90 s"),
            (600, "10 min"),
        ] {
            assert_eq!(duration(seconds), told);
        }
    }
}
