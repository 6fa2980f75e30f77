//! Where webhooks may be sent. What a name resolves to is checked by who sends.

use latchkey_shared::net_guard::{NetGuard, Refused};
use url::Url;

const MAX_URL_BYTES: usize = 2048;

/// # Errors
/// A sentence that says why nothing may be delivered there.
pub(super) fn check(text: &str, guard: &NetGuard) -> Result<Url, String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("must be at most {MAX_URL_BYTES} bytes"));
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URL".to_owned())?;
    match guard.check_receiver(&url) {
        Ok(()) => Ok(url),
        Err(Refused::NotOpened) => Err(
            "must be https, or http on a network that the operator opened (LATCHKEY_OUTBOUND_ALLOW)"
                .to_owned(),
        ),
        Err(refused) => Err(refused.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use latchkey_shared::net_guard::Ports;

    use super::*;

    #[test]
    fn deliveries_go_encrypted_or_to_an_opened_network() {
        let closed = NetGuard::default();
        let open = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
        for url in ["https://hooks.example/a", "https://1.1.1.1/"] {
            assert!(check(url, &closed).is_ok(), "{url}");
        }
        for url in ["http://127.0.0.1:9/a", "http://localhost:9/a"] {
            assert!(check(url, &closed).is_err(), "{url}");
            assert!(check(url, &open).is_ok(), "{url}");
        }
        for url in ["http://1.1.1.1/", "http://10.0.0.1/", "https://10.0.0.1/", "ftp://a/", "a"] {
            assert!(check(url, &open).is_err(), "{url}");
        }
        // Where a name leads is seen when it is called.
        assert!(check("http://hooks.example/", &open).is_ok());
        assert!(check("http://hooks.example/", &closed).is_err());
    }
}
