//! The dialects: other products' published contracts, translated to our operations and back. They hold no
//! rules and touch no table.

pub(crate) mod words;
