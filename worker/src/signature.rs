//! Signatures of webhooks: Standard Webhooks 1.0.0, `v1` (HMAC-SHA256).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The `webhook-signature` of a body, by each of the secrets; `None` when one is not `whsec_` and base64.
#[must_use]
pub fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &str) -> Option<String> {
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures: Option<Vec<String>> =
        secrets.iter().map(|secret| sign_by(secret, signed.as_bytes())).collect();
    Some(signatures?.join(" "))
}

fn sign_by(secret: &SecretString, signed: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.expose_secret().strip_prefix("whsec_")?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(signed);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_specification_s_example() {
        let secret = SecretString::from("whsec_plJ3nmyCDGBKInavdOK15jsl");
        let body = r#"{"event_type":"ping","data":{"success":true}}"#;
        let signature =
            sign(std::slice::from_ref(&secret), "msg_loFOjxBNrRLzqYUf", 1_731_705_121, body)
                .unwrap();
        assert_eq!(signature, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    }

    #[test]
    fn each_secret_signs() {
        let secrets = ["whsec_AAAA", "whsec_BBBB"].map(SecretString::from);
        let alone = |at: usize| sign(&secrets[at..=at], "id", 0, "{}").unwrap();
        assert_eq!(sign(&secrets, "id", 0, "{}").unwrap(), format!("{} {}", alone(0), alone(1)));
    }

    #[test]
    fn a_malformed_secret_signs_nothing() {
        let (good, plain) = (SecretString::from("whsec_AAAA"), SecretString::from("plain"));
        assert!(sign(&[good, plain], "id", 0, "").is_none());
    }
}
