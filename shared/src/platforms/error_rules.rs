//! What a vendor's errors mean: rules that read HTTP status, code, subcode and words together.
//!
//! A rule speaks for one vendor. What every provider says alike is known to the worker.

use std::time::Duration;

/// An error, and what it means. What a rule leaves empty may be anything.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRule {
    /// Which HTTP statuses.
    pub statuses: &'static [u16],
    /// Which codes.
    pub code: Codes,
    /// Which subcodes.
    pub subcodes: &'static [&'static str],
    /// What the platform's words must contain one of, in lower case.
    pub says: &'static [&'static str],
    /// What it means.
    pub means: Meaning,
    /// How long it usually lasts, where the platform does not say.
    pub wait: Option<Duration>,
}

impl ErrorRule {
    /// Codes that mean the same whatever stands beside them.
    #[must_use]
    pub const fn of(code: Codes, means: Meaning) -> Self {
        Self { statuses: &[], code, subcodes: &[], says: &[], means, wait: None }
    }

    /// The rule for these HTTP statuses alone.
    #[must_use]
    pub const fn at(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// The rule for these subcodes alone.
    #[must_use]
    pub const fn narrowed(self, subcodes: &'static [&'static str]) -> Self {
        Self { subcodes, ..self }
    }

    /// The rule for words that contain one of these alone.
    #[must_use]
    pub const fn saying(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    /// Whether an error is meant. The words are in lower case.
    #[must_use]
    pub fn fits(
        &self,
        status: Option<u16>,
        code: &str,
        subcode: Option<&str>,
        words: &str,
    ) -> bool {
        let of_status = || status.is_some_and(|status| self.statuses.contains(&status));
        let of_subcode = || subcode.is_some_and(|subcode| self.subcodes.contains(&subcode));
        (self.statuses.is_empty() || of_status())
            && self.code.contain(code)
            && (self.subcodes.is_empty() || of_subcode())
            && (self.says.is_empty() || self.says.iter().any(|part| words.contains(part)))
    }
}

/// Codes of errors.
#[derive(Clone, Copy, Debug)]
pub enum Codes {
    /// Whatever it is.
    Any,
    /// One of these.
    Is(&'static [&'static str]),
    /// A number between these, both included.
    Between(u32, u32),
}

impl Codes {
    /// Whether a code is among them.
    #[must_use]
    pub fn contain(self, code: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Is(codes) => codes.contains(&code),
            Self::Between(first, last) => {
                code.parse::<u32>().is_ok_and(|code| (first..=last).contains(&code))
            }
        }
    }
}

/// What a platform's clear answer means for the account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// The platform did not do it, and will later.
    Transient,
    /// The same, but the allowance that is used up comes back in hours or days.
    UsedUp,
    /// The platform broke while it worked: it may have done it.
    Broken,
    /// The error says nothing of the account, and not that it will pass either.
    SaysNothing,
    /// Only the person can help.
    Dead,
    /// The platform answers so for dead grants, and sometimes for living ones.
    DeadIfRepeated,
    /// The person must act at the platform; the token stays as it is.
    Checkpoint,
    /// The person must consent again, for more or for something else.
    NeedsConsent,
    /// We are wrong, not the account.
    OurFault,
    /// Somebody is not who they say: our client, or the person whose token it is.
    ClientOrToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_status_code_subcode_and_words_together() {
        let rule = ErrorRule::of(Codes::Is(&["190"]), Meaning::Dead)
            .at(&[400])
            .narrowed(&["7", "8"])
            .saying(&["gone", "away"]);
        assert!(rule.fits(Some(400), "190", Some("8"), "it is away"));
        for (status, code, subcode, words) in [
            (Some(401), "190", Some("8"), "gone"),
            (None, "190", Some("8"), "gone"),
            (Some(400), "191", Some("8"), "gone"),
            (Some(400), "190", None, "gone"),
            (Some(400), "190", Some("9"), "gone"),
            (Some(400), "190", Some("8"), "here"),
        ] {
            assert!(
                !rule.fits(status, code, subcode, words),
                "{status:?} {code} {subcode:?} {words}"
            );
        }
        let any = ErrorRule::of(Codes::Any, Meaning::Dead);
        assert!(any.fits(None, "", None, ""));
    }
}
