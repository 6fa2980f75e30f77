//! Why an operation was refused: the same words whether the request came over HTTP or from a queue.
//! Failures of ours are no refusals, and their causes never stand here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::code::Code;

/// One field of the body, or one parameter of the query, that is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it stands in the body (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/redirectAllowlist/0")]
    pointer: Option<String>,
    /// Which parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "cursor")]
    parameter: Option<String>,
    /// What is wrong with it.
    message: String,
}

impl FieldError {
    /// A field of the body.
    #[must_use]
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, message: message.into() }
    }

    /// A parameter of the query.
    #[must_use]
    pub fn of_query(parameter: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(parameter.into()), message: message.into() }
    }

    /// The field's name in this list of pairs, if it stands there: a pointer of ours and the parameter of a
    /// query that it came from.
    #[must_use]
    pub fn in_query(self, names: &[(&str, &str)]) -> Self {
        let name = names.iter().find(|(pointer, _)| self.pointer.as_deref() == Some(*pointer));
        match name {
            Some((_, parameter)) => {
                Self { pointer: None, parameter: Some((*parameter).to_owned()), ..self }
            }
            None => self,
        }
    }

    /// The same, where the names stand in the body.
    #[must_use]
    pub fn in_body(self, names: &[(&str, &str)]) -> Self {
        let name = names.iter().find(|(pointer, _)| self.pointer.as_deref() == Some(*pointer));
        match name {
            Some((_, pointer)) => Self { pointer: Some((*pointer).to_owned()), ..self },
            None => self,
        }
    }

    /// The place and what is wrong there, in one sentence.
    #[must_use]
    pub fn told(&self) -> String {
        let place = self.pointer.as_deref().map(|pointer| pointer.trim_start_matches('/'));
        match place.or(self.parameter.as_deref()).filter(|place| !place.is_empty()) {
            Some(place) => format!("{place}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A request that was not done, and what its sender can do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What went wrong, for machines.
    pub code: Code,
    /// What to do about it.
    pub detail: Cow<'static, str>,
    /// The fields that are wrong, if that is what it is about.
    pub errors: Vec<FieldError>,
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// The same code for every id that the caller may not see, whatever the reason.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "Nothing of this id is within the key's reach. Check the id, and which key is used.",
        )
    }

    /// Fields of the body that are wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(
                Code::ValidationFailed,
                "Correct the fields named in `errors` and send the request again.",
            )
        }
    }

    /// A platform that does not say where its endpoints are; why is logged where it is asked.
    #[must_use]
    pub fn platform_unavailable(name: &str) -> Self {
        let detail = format!(
            "{name} does not say where its pages are. Try again in a few seconds; if it stays, the \
             operator finds the reason in the log."
        );
        Self::new(Code::PlatformUnavailable, detail)
    }

    /// What the request names was there when it was judged, and is gone now that it is done.
    #[must_use]
    pub fn reference_gone() -> Self {
        Self::new(
            Code::ReferenceGone,
            "It was deleted at this moment: look again, and name what is there.",
        )
    }

    /// One field of the body that is wrong in a way that has its own code.
    #[must_use]
    pub fn at(self, pointer: &str) -> Self {
        Self { errors: vec![FieldError::at(pointer, self.detail.clone())], ..self }
    }
}
