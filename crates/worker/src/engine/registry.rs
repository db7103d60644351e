//! Every saga this worker has code for.

use crate::engine::Saga;
use crate::engine::walk::END;
use domain::operation::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sagas by kind and definition version.
#[derive(Default)]
pub struct Registry {
    sagas: BTreeMap<(Kind, i32), Arc<Saga>>,
}

/// Why a saga cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The same kind and version twice.
    #[error("{0} version {1} is registered twice")]
    Twice(Kind, i32),
    /// Two steps of one saga have the same name, or one has the name of the saga's end.
    #[error("{0} version {1} has two steps called {2}")]
    StepTwice(Kind, i32, &'static str),
    /// A saga without steps would yield no fault point.
    #[error("{0} version {1} has no steps")]
    Empty(Kind, i32),
}

impl Registry {
    /// A registry of these sagas.
    ///
    /// # Errors
    /// If one is there twice, is empty, or has two steps of one name.
    pub fn new(sagas: impl IntoIterator<Item = Saga>) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        for saga in sagas {
            registry.add(saga)?;
        }
        Ok(registry)
    }

    fn add(&mut self, saga: Saga) -> Result<(), RegistryError> {
        let (kind, version) = (saga.kind(), saga.def_version());
        if saga.steps().is_empty() {
            return Err(RegistryError::Empty(kind, version));
        }
        for (index, entry) in saga.steps().iter().enumerate() {
            let name = entry.step().name();
            if name == END.name {
                return Err(RegistryError::StepTwice(kind, version, name));
            }
            if saga.steps()[..index].iter().any(|other| other.step().name() == name) {
                return Err(RegistryError::StepTwice(kind, version, name));
            }
        }
        match self.sagas.insert((kind, version), Arc::new(saga)) {
            None => Ok(()),
            Some(_) => Err(RegistryError::Twice(kind, version)),
        }
    }

    /// The saga of this kind and version.
    pub fn get(&self, kind: Kind, def_version: i32) -> Option<&Arc<Saga>> {
        self.sagas.get(&(kind, def_version))
    }

    /// Every saga.
    pub fn iter(&self) -> impl Iterator<Item = &Saga> {
        self.sagas.values().map(Arc::as_ref)
    }
}
