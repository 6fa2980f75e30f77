//! `LINKEDIN_PERSON`: a member's own profile. What both platforms share: `linkedin.rs`.

use super::Spec;
use super::linkedin::MEMBER;

/// `r_basicprofile` needs LinkedIn's approval (Community Management): an app that has none gives
/// `scopes` without it.
pub const LINKEDIN_PERSON: Spec = Spec {
    id: "LINKEDIN_PERSON",
    name: "LinkedIn",
    default_scopes: &["openid", "profile", "r_basicprofile", "w_member_social"],
    ..MEMBER
};
