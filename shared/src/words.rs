//! What each product calls a platform. A platform without a word does not exist there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A product's word for a platform.
pub trait Word: Copy + Eq + 'static {
    /// Every one, with the word itself and the id of our platform.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// The word itself.
    fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The id of the platform that it stands for.
    fn ours(self) -> &'static str {
        self.row().2
    }

    /// The word for a platform of ours.
    fn of(platform: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., ours)| *ours == platform).map(|row| row.0)
    }

    /// Reads a word, where it is not in a body.
    fn read(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == word).map(|row| row.0)
    }

    /// Its row.
    fn row(self) -> (Self, &'static str, &'static str) {
        let row = Self::ALL.iter().find(|row| row.0 == self);
        *row.expect("the macro below lists every word")
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident as $shown:ident {
        $($variant:ident = $word:tt, $ours:tt;)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
        #[schema(as = $shown)]
        pub enum $name {
            $(#[serde(rename = $word)] #[doc = concat!("Our `", $ours, "`.")] $variant),+
        }

        impl Word for $name {
            const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $word, $ours)),+];
        }
    )+};
}

words! {
    /// What Postbreeze takes and shows as `platform`.
    Postbreeze as ChannelPlatform {
        Instagram = "INSTAGRAM", "INSTAGRAM";
        FacebookPage = "FACEBOOK_PAGE", "FACEBOOK_PAGE";
        X = "X", "X";
        LinkedinPerson = "LINKEDIN_PERSON", "LINKEDIN_PERSON";
        LinkedinCompany = "LINKEDIN_COMPANY", "LINKEDIN_COMPANY";
        TiktokBusiness = "TIKTOK_BUSINESS", "TIKTOK_BUSINESS";
        TiktokPersonal = "TIKTOK_PERSONAL", "TIKTOK_PERSONAL";
        Youtube = "YOUTUBE", "YOUTUBE";
        Pinterest = "PINTEREST", "PINTEREST";
        Threads = "THREADS", "THREADS";
        Bluesky = "BLUESKY", "BLUESKY";
    }

    /// PostPeer's words, as they stand in its paths.
    Postpeer as Platform {
        Twitter = "twitter", "X";
        Youtube = "youtube", "YOUTUBE";
        Tiktok = "tiktok", "TIKTOK_PERSONAL";
        Facebook = "facebook", "FACEBOOK_PAGE";
        Threads = "threads", "THREADS";
        Pinterest = "pinterest", "PINTEREST";
        Linkedin = "linkedin", "LINKEDIN_PERSON";
        Instagram = "instagram", "INSTAGRAM";
        Bluesky = "bluesky", "BLUESKY";
    }

    /// WoopSocial's words; `WOOPTEST` is a platform to try things out with.
    Woopsocial as SocialPlatform {
        Pinterest = "PINTEREST", "PINTEREST";
        Linkedin = "LINKEDIN", "LINKEDIN_PERSON";
        LinkedinPages = "LINKEDIN_PAGES", "LINKEDIN_COMPANY";
        Instagram = "INSTAGRAM", "INSTAGRAM";
        Facebook = "FACEBOOK", "FACEBOOK_PAGE";
        Threads = "THREADS", "THREADS";
        Tiktok = "TIKTOK", "TIKTOK_PERSONAL";
        X = "X", "X";
        Youtube = "YOUTUBE", "YOUTUBE";
        Wooptest = "WOOPTEST", "SANDBOX";
    }

    /// What Ocoya takes as `provider`.
    Ocoya as Provider {
        Facebook = "facebook", "FACEBOOK_PAGE";
        Instagram = "instagram", "INSTAGRAM";
        X = "x", "X";
        Linkedin = "linkedin", "LINKEDIN_PERSON";
        Pinterest = "pinterest", "PINTEREST";
    }
}

/// PostPeer's word for a platform of ours.
#[must_use]
pub fn postpeer(platform: &str) -> Option<&'static str> {
    Postpeer::of(platform).map(Postpeer::as_str)
}

/// WoopSocial's word for a platform of ours.
#[must_use]
pub fn woopsocial(platform: &str) -> Option<&'static str> {
    Woopsocial::of(platform).map(Woopsocial::as_str)
}

/// Postato publishes names, but no list of words: ours in lower case, so that none is missing.
#[must_use]
pub fn postato(platform: &str) -> String {
    match platform {
        "LINKEDIN_PERSON" => "linkedin".to_owned(),
        "TIKTOK_PERSONAL" => "tiktok".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::BUILT_IN;

    fn check<W: Word + std::fmt::Debug>() {
        for (word, text, ours) in W::ALL {
            assert!(BUILT_IN.iter().any(|spec| spec.id == *ours), "{word:?}");
            assert_eq!((W::of(ours), W::read(text)), (Some(*word), Some(*word)));
            assert_eq!((word.as_str(), word.ours()), (*text, *ours));
        }
    }

    #[test]
    fn every_word_stands_for_a_platform_and_leads_back() {
        check::<Postbreeze>();
        check::<Postpeer>();
        check::<Woopsocial>();
        check::<Ocoya>();
    }

    #[test]
    fn a_platform_without_a_word_does_not_exist_there() {
        assert_eq!(Postbreeze::of("SANDBOX"), None);
        assert_eq!(Postpeer::of("SANDBOX"), None);
        assert_eq!(Woopsocial::of("BLUESKY"), None);
        assert_eq!(Ocoya::of("THREADS"), None);
    }

    #[test]
    fn postato_calls_its_platforms_by_their_short_names() {
        for (ours, word) in
            [("X", "x"), ("LINKEDIN_PERSON", "linkedin"), ("TIKTOK_BUSINESS", "tiktok_business")]
        {
            assert_eq!(postato(ours), word);
        }
    }
}
