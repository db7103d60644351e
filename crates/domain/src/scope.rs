//! What an operation has to itself while it is active: at most one runs per scope (engine 5, 10).

use crate::ids::{BackupId, InstanceId, OperationId};
use crate::template::TemplateKey;
use std::fmt;
use std::str::FromStr;

/// The scope of an operation; its text is stored, and names the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `instance:<id>`: everything that changes an instance.
    Instance(InstanceId),
    /// `template:<server>:<version>:<demo>`: one builder at a time per key.
    Template(TemplateKey),
    /// `reconcile`: one comparison of everything at a time.
    Reconcile,
    /// `export:<backup id>`: one archive of a backup at a time, beside whatever the instance does.
    Export(BackupId),
    /// `own:<operation id>`: shares nothing with any other operation.
    Own(OperationId),
}

/// A text that is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is written instance:<id>, template:<server>:<version>:<demo>, reconcile, export:<backup id> or own:<operation id>"
)]
pub struct NotAScope;

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "instance:{id}"),
            Self::Template(key) => write!(f, "template:{key}"),
            Self::Reconcile => f.write_str("reconcile"),
            Self::Export(id) => write!(f, "export:{id}"),
            Self::Own(id) => write!(f, "own:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = NotAScope;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("instance", id)) => id.parse().map(Self::Instance).map_err(|_| NotAScope),
            Some(("template", key)) => key.parse().map(Self::Template).map_err(|_| NotAScope),
            Some(("export", id)) => id.parse().map(Self::Export).map_err(|_| NotAScope),
            Some(("own", id)) => id.parse().map(Self::Own).map_err(|_| NotAScope),
            None if text == "reconcile" => Ok(Self::Reconcile),
            _ => Err(NotAScope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerId;
    use crate::version::OdooVersion;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn scopes_are_read_as_they_are_written(id: u128, major in 1_u16..=999, demo: bool) {
            let id = Uuid::from_u128(id);
            let key = TemplateKey { server: ServerId::from_uuid(id), version: OdooVersion::new(major), demo };
            let instance = Scope::Instance(InstanceId::from_uuid(id));
            let beside = [Scope::Export(BackupId::from_uuid(id)), Scope::Own(OperationId::from_uuid(id))];
            for scope in [instance, Scope::Template(key), Scope::Reconcile].into_iter().chain(beside) {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
            prop_assert_eq!(instance.to_string(), format!("instance:{id}"));
        }

        #[test]
        fn no_text_panics(text in "(instance|template|reconcile|export|own|x)?:?.{0,60}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
    }

    #[test]
    fn other_texts_are_no_scopes() {
        for text in
            ["", "instance", "instance:", "instance:x", "template:x:19:true", "own:1", "export:", "reconcile:", "server:0"]
        {
            assert_eq!(text.parse::<Scope>(), Err(NotAScope), "{text}");
        }
        let id = Uuid::nil();
        for text in [format!("template:{id}:19"), format!("template:{id}:19:yes"), format!("template:{id}:19:true:x")] {
            assert_eq!(text.parse::<Scope>(), Err(NotAScope), "{text}");
        }
    }
}
