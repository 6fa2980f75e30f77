//! Where a connect may send the browser back to.
//!
//! An open redirect would lend our name to whoever asks: so the list is compared part by part, never
//! by prefix, and nothing but http and https is ever allowed.

use url::{Host, Url};

const MAX_CHARS: usize = 2048;

/// Reads a redirect URL and checks it against a workspace's list. Without a list: https, and http on
/// loopback.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check(text: &str, allowlist: &[String]) -> Result<Url, &'static str> {
    let url = read(text)?;
    if allowlist.is_empty() {
        return match url.scheme() {
            "https" => Ok(url),
            _ if is_loopback(&url) => Ok(url),
            _ => Err(
                "must be https, or http on a loopback address, unless the workspace's redirectAllowlist names it",
            ),
        };
    }
    let listed = allowlist
        .iter()
        .filter_map(|entry| Url::parse(entry).ok())
        .any(|entry| same_place(&entry, &url));
    if listed {
        Ok(url)
    } else {
        Err(
            "must have scheme, host, port and path of an entry of the workspace's redirectAllowlist",
        )
    }
}

/// Reads an entry of the list.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_entry(text: &str) -> Result<Url, &'static str> {
    let url = read(text)?;
    if url.query().is_some() {
        return Err("must have no query: any query is allowed");
    }
    if url.fragment().is_some() {
        return Err("must have no fragment: any fragment is allowed");
    }
    Ok(url)
}

/// Whether the URL leads to this very machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn read(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_CHARS {
        return Err("must be at most 2048 characters");
    }
    // What a parser would mend or strip, another reads otherwise.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("must be plain ASCII without spaces and backslashes: percent-encode the rest");
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be https, or http on a loopback address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user name and no password");
    }
    if !names_its_host(text, &url) {
        return Err(
            "must begin with scheme, two slashes and the host as it is called, not encoded",
        );
    }
    Ok(url)
}

/// Whether the text says where it leads as it was understood: no encoded or numeric host, no slash too few
/// or too many.
fn names_its_host(text: &str, url: &Url) -> bool {
    let origin = url.origin().ascii_serialization();
    let Some((begin, rest)) = text.split_at_checked(origin.len()) else { return false };
    let default_port = if url.scheme() == "https" { ":443" } else { ":80" };
    let rest = rest.strip_prefix(default_port).filter(|_| url.port().is_none()).unwrap_or(rest);
    begin.eq_ignore_ascii_case(&origin) && (rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn same_place(entry: &Url, url: &Url) -> bool {
    entry.scheme() == url.scheme()
        && entry.host() == url.host()
        && entry.port_or_known_default() == url.port_or_known_default()
        && entry.path() == url.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_https_and_loopback_pass() {
        for url in [
            "https://app.example/done",
            "https://app.example:8443/done?tab=1",
            "http://localhost:3000/",
            "http://127.0.0.1/x",
            "http://[::1]:8080/",
            "https://app.example/#/done",
            "https://app.example#done",
        ] {
            assert!(check(url, &[]).is_ok(), "{url}");
        }
        for url in [
            "http://app.example/done",
            "http://localhost.evil.example/",
            "myapp://done",
            "javascript:alert(1)",
            "//app.example/",
            "/done",
            "",
            "https://user@app.example/",
            "https://:secret@app.example/",
            "data:text/html,x",
        ] {
            assert!(check(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn a_list_is_kept_to_the_letter_but_for_the_query() {
        let list = ["https://app.example/done".to_owned()];
        assert!(check("https://app.example/done", &list).is_ok());
        assert!(check("https://APP.example:443/done?a=b#c", &list).is_ok());
        assert!(check_entry("https://app.example/done#c").is_err());
        for url in [
            "https://app.example/done/",
            "https://app.example/done/../other",
            "https://app.example/DONE",
            "https://app.example:444/done",
            "http://app.example/done",
            "https://evil.app.example/done",
            "https://app.example.evil/done",
            "https://app.example@evil.example/done",
            "https://app.example\\@evil.example/done",
            "http://localhost/done",
        ] {
            assert!(check(url, &list).is_err(), "{url}");
        }
    }

    #[test]
    fn what_would_have_to_be_mended_is_refused() {
        for url in [
            " https://app.example/",
            "https://app.example/ ",
            "https://app.example/\n",
            "ht\ttps://app.example/",
            "https:app.example/",
            "https:/app.example/",
            "https:///app.example/",
            "https:\\\\app.example/",
            "https://app.example\\done",
            "https://app%2eexample/",
            "https://app\u{3002}example/",
            "https://\u{ff41}pp.example/",
            "https://app.ex\u{e4}mple/",
            "https://@app.example/",
            "https://app.example:/",
            "https://app.example:0443/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(check(url, &[]).is_err(), "{url}");
        }
        for url in
            ["HTTPS://APP.example:443?a=O'Brien", "http://localhost:80", "https://[::1]:8/x%20y"]
        {
            assert!(check(url, &[]).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_long_url_is_refused() {
        let url = format!("https://app.example/{}", "a".repeat(MAX_CHARS));
        assert!(check(&url, &[]).is_err());
    }

    #[test]
    fn an_entry_has_no_query() {
        assert!(check_entry("https://app.example/done?a=b").is_err());
        assert!(check_entry("https://app.example/done").is_ok());
    }
}
