//! `LINKEDIN_COMPANY`: the pages that a member administers. The tokens are always the member's; a page
//! has none. What both platforms share: `linkedin.rs`.
//!
//! <https://learn.microsoft.com/en-us/linkedin/marketing/community-management/organizations/organization-access-control-by-role>
//! <https://learn.microsoft.com/en-us/linkedin/marketing/versioning>

use super::linkedin::MEMBER;
use super::quirks::{Accounts, Ask, Demand, Listing, Paging};
use super::vocabulary::pointers;
use super::{Quirks, Spec, Urls};

/// LinkedIn retires each version of its API after about a year: `api_version` names a newer one.
pub const LINKEDIN_COMPANY: Spec = Spec {
    id: "LINKEDIN_COMPANY",
    name: "LinkedIn Pages",
    version: Some("202606"),
    urls: Urls {
        // As implementations in use have it; the decoration `~` is missing in some versions.
        accounts: Some(
            "https://api.linkedin.com/v2/organizationalEntityAcls?q=roleAssignee&state=APPROVED&count=50&projection=(elements*(role,state,organizationalTarget,organizationalTarget~(localizedName,vanityName)),paging)",
        ),
        ..MEMBER.urls
    },
    default_scopes: &[
        "openid",
        "profile",
        "r_basicprofile",
        "w_member_social",
        "w_organization_social",
        "r_organization_social",
        "rw_organization_admin",
    ],
    quirks: Quirks {
        accounts: Accounts::Listed(&Listing {
            ask: Ask {
                headers: &[
                    ("x-restli-protocol-version", "2.0.0"),
                    ("linkedin-version", "{version}"),
                ],
                ..Ask::STANDARD
            },
            items: "/elements",
            mapping: pointers(
                "/organizationalTarget",
                "/organizationalTarget~0/vanityName",
                "/organizationalTarget~0/localizedName",
                "",
            ),
            token: None,
            demands: &[Demand {
                at: "/role",
                // Documents and implementations call the second one differently; unverified.
                any_of: &["ADMINISTRATOR", "CONTENT_ADMINISTRATOR", "CONTENT_ADMIN"],
                otherwise: "ROLE_NOT_ENOUGH",
            }],
            paging: Paging::Offset { parameter: "start", page: 50 },
            inspection: None,
        }),
        ..MEMBER.quirks
    },
    ..MEMBER
};
