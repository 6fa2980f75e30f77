//! Headers that keep a browser careful with whatever we answer. Pages set a policy of their own.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use tower_http::set_header::SetResponseHeaderLayer;
use url::Url;

const NOTHING: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Puts the headers on every answer that does not have them.
pub(crate) fn layer(router: Router, public_url: &Url) -> Router {
    let mut headers = vec![
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, NOTHING),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    if public_url.scheme() == "https" {
        headers.push((STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    }
    headers.into_iter().fold(router, |router, (name, value)| put(router, name, value))
}

fn put(router: Router, name: HeaderName, value: &'static str) -> Router {
    let value = HeaderValue::from_static(value);
    router.layer(SetResponseHeaderLayer::if_not_present(name, value))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn every_answer_has_them_and_https_is_kept() {
        let router = Router::new().route("/", routing::get(|| async {}));
        for (public_url, strict) in [("https://a.example", true), ("http://127.0.0.1", false)] {
            let router = layer(router.clone(), &public_url.parse().unwrap());
            let request = Request::get("/nowhere").body(Body::empty()).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let headers = response.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[X_FRAME_OPTIONS], "DENY");
            assert_eq!(headers.contains_key(STRICT_TRANSPORT_SECURITY), strict);
        }
    }
}
