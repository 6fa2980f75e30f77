//! Standard Webhooks, checked from the specification alone.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How far a timestamp may be from now.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Scheme v1: any of the signatures may fit, so that secrets can be rotated.
pub(super) fn is_signed(key: &[u8], headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> bool {
    let Some(id) = text(headers, "webhook-id") else {
        return false;
    };
    let Some(timestamp) = text(headers, "webhook-timestamp") else {
        return false;
    };
    let Some(signatures) = text(headers, "webhook-signature") else {
        return false;
    };
    let sent_at = timestamp.parse().ok().and_then(|secs| DateTime::from_timestamp(secs, 0));
    if sent_at.is_none_or(|sent_at| (now - sent_at).abs() > TOLERANCE) {
        return false;
    }
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return false;
    };
    let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
    signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| mac.clone().verify_slice(&signature).is_ok())
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
