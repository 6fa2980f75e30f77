//! What the guard permits, and in which words it refuses.

use super::*;

#[test]
fn inner_addresses_are_refused_in_every_spelling() {
    let guard = NetGuard::default();
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://255.255.255.255/",
        "http://198.18.0.1/",
        "http://168.63.129.16/",
        "http://[64:ff9b::a83f:8110]/",
        "http://161.26.0.10/",
        "http://166.9.14.5/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[2001::7f00:1]/",
        "http://[2001:20::1]/",
        "http://[64:ff9b:1::808:808]/",
        "http://[::7f00:1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[fec0::1]/",
        "http://[5f00::1]/",
        "http://[ff02::1]/",
        "http://192.0.0.9/",
        "http://192.88.99.1/",
        "https://localhost/",
        "https://a.localhost./",
        "http://user@example.com/",
        "ftp://example.com/",
    ] {
        assert!(guard.check(&url.parse().unwrap()).is_err(), "{url}");
    }
}

#[test]
fn public_and_allowed_addresses_pass() {
    let guard = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
    for url in [
        "https://1.1.1.1/",
        "https://192.31.196.1/",
        "https://168.63.129.17/",
        "https://166.12.0.1/",
        "https://[64:ff9b::101:101]/",
        "https://[2606:4700::1111]/",
        "http://127.0.0.1:8080/",
        "https://example.com/",
    ] {
        assert!(guard.check(&url.parse().unwrap()).is_ok(), "{url}");
    }
    assert!(guard.check(&"http://10.0.0.1/".parse().unwrap()).is_err());
}

#[test]
fn other_ports_are_the_operator_s_to_allow() {
    let usual = NetGuard::default();
    let more = NetGuard::new(&[], &["443", "8000-8999"].map(|ports| ports.parse().unwrap()));
    let passes = |guard: &NetGuard, url: &str| guard.check(&url.parse().unwrap()).is_ok();
    for url in ["http://a.example/", "https://a.example/", "https://a.example:80/"] {
        assert!(passes(&usual, url), "{url}");
    }
    assert!(passes(&more, "https://a.example:8443/") && !passes(&more, "http://a.example/"));
    for url in ["https://a.example:22/", "https://a.example:6379/", "https://a.example:9000/"] {
        assert!(!passes(&usual, url) && !passes(&more, url), "{url}");
    }
    for text in ["", "0", "70000", "90-80", "1-", "http"] {
        assert!(text.parse::<Ports>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_when_it_resolves() {
    let client = NetGuard::default().client(Duration::from_secs(2)).unwrap();
    let error = client.get("http://localhost:80/").send().await.unwrap_err();
    assert!(matches!(Refused::inside(&error), Some(Refused::LeadsInside)), "{error:?}");
}

/// Whether a name resolves or leads elsewhere is not told.
#[tokio::test]
async fn http_goes_to_receivers_on_opened_networks_alone() {
    let opened = NetGuard::new(&["10.0.0.0/8".parse().unwrap()], &Ports::ALL);
    let passes = |guard: &NetGuard, url: &str| guard.check_receiver(&url.parse().unwrap());
    for url in ["http://10.1.2.3:8080/", "http://hooks.example/", "https://1.1.1.1/"] {
        assert!(passes(&opened, url).is_ok(), "{url}");
    }
    for url in ["http://1.1.1.1/", "http://[2606:4700::1111]/"] {
        assert!(matches!(passes(&opened, url), Err(Refused::NotOpened)), "{url}");
    }
    assert!(matches!(passes(&opened, "http://192.168.0.1/"), Err(Refused::NotPublic(_))));
    assert!(passes(&NetGuard::default(), "http://hooks.example/").is_err());
    let client = opened.opened().client(Duration::from_secs(2)).unwrap();
    let mut told = Vec::new();
    for name in ["localhost", "there-is-no.invalid"] {
        let error = client.get(format!("http://{name}:80/")).send().await.unwrap_err();
        told.push(format!("{:#}", anyhow::Error::new(error.without_url())));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("LATCHKEY_OUTBOUND_ALLOW"), "{told:?}");
}

#[test]
fn http_is_for_this_machine_where_loopback_is_permitted() {
    let here = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
    let elsewhere = NetGuard::new(&["10.0.0.0/8".parse().unwrap()], &Ports::ALL);
    let passes = |guard: &NetGuard, url: &str| guard.check_https(&url.parse().unwrap()).is_ok();
    for url in ["http://127.0.0.1:1/", "http://localhost:1/", "https://example.com/"] {
        assert!(passes(&here, url), "{url}");
    }
    for url in ["http://example.com/", "http://10.0.0.1/", "http://localhost/"] {
        assert!(!passes(&elsewhere, url), "{url}");
    }
    assert!(passes(&elsewhere, "https://10.0.0.1/") && !passes(&here, "https://10.0.0.1/"));
}
