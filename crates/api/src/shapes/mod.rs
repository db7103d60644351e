//! The objects of the API as clients see them: fields, names and order of contract 4.1 and 5, and nothing else.

pub(crate) mod admin;
pub(crate) mod instance;
pub(crate) mod operation;
