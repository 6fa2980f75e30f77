//! What each product calls a platform. A platform without a word does not exist there.

/// PostPeer's words, as they stand in its paths.
const POSTPEER: [(&str, &str); 9] = [
    ("twitter", "X"),
    ("youtube", "YOUTUBE"),
    ("tiktok", "TIKTOK_PERSONAL"),
    ("facebook", "FACEBOOK_PAGE"),
    ("threads", "THREADS"),
    ("pinterest", "PINTEREST"),
    ("linkedin", "LINKEDIN_PERSON"),
    ("instagram", "INSTAGRAM"),
    ("bluesky", "BLUESKY"),
];

/// WoopSocial's `SocialPlatform`.
const WOOPSOCIAL: [(&str, &str); 10] = [
    ("PINTEREST", "PINTEREST"),
    ("LINKEDIN", "LINKEDIN_PERSON"),
    ("LINKEDIN_PAGES", "LINKEDIN_COMPANY"),
    ("INSTAGRAM", "INSTAGRAM"),
    ("FACEBOOK", "FACEBOOK_PAGE"),
    ("THREADS", "THREADS"),
    ("TIKTOK", "TIKTOK_PERSONAL"),
    ("X", "X"),
    ("YOUTUBE", "YOUTUBE"),
    ("WOOPTEST", "SANDBOX"),
];

/// PostPeer's word for a platform of ours.
pub(crate) fn postpeer(platform: &str) -> Option<&'static str> {
    word(&POSTPEER, platform)
}

/// WoopSocial's word for a platform of ours.
pub(crate) fn woopsocial(platform: &str) -> Option<&'static str> {
    word(&WOOPSOCIAL, platform)
}

fn word(words: &[(&'static str, &str)], platform: &str) -> Option<&'static str> {
    words.iter().find(|(_, ours)| *ours == platform).map(|(word, _)| *word)
}
