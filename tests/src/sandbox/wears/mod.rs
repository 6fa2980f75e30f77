//! The vendors' platforms that the sandbox wears, each in its own file or folder.

pub(super) mod bluesky;
