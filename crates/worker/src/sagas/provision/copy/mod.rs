//! Provisioning as a copy of another instance (contract 16.4): the same saga, with other steps in the place of those that make a new database.
//! A copy is made harmless before its service is made, and its identity is its own.

mod data;
mod database;
mod harmless;
mod source;

pub(super) use data::CopyData;
pub(super) use database::LoadCopy;
pub(super) use harmless::MakeHarmless;
pub(super) use source::AwaitBackup;

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::site::instance_id;
use async_trait::async_trait;
use db::platform::clones::{self, CloneOf};
use domain::operation::Place;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest time of a copy: that of a restore.
pub(super) const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// Of what the instance is a copy, if it is one.
async fn copy_of(cx: &Cx) -> Result<Option<CloneOf>, StepError> {
    Ok(clones::of(&cx.services().db, instance_id(cx)?).await?)
}

/// Whether it is one. The first step that differs has recorded it; until then the row is asked.
pub(super) async fn is_copy(cx: &Cx) -> Result<bool, StepError> {
    match cx.recorded::<Value>(source::NAME)? {
        Some(recorded) => Ok(recorded.get("backup").is_some()),
        None => Ok(copy_of(cx).await?.is_some()),
    }
}

/// A step of an order, and what is done in its place for a copy. Both have the name of the first.
pub(super) struct Either<A, B>(pub(super) A, pub(super) B);

#[async_trait]
impl<A: Step, B: Step> Step for Either<A, B> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn place(&self) -> Place {
        self.0.place()
    }

    fn weight(&self) -> u32 {
        self.0.weight()
    }

    fn limit(&self) -> Duration {
        self.0.limit().max(self.1.limit())
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        if is_copy(cx).await? { self.1.check(cx).await } else { self.0.check(cx).await }
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        if is_copy(cx).await? { self.1.apply(cx, seen).await } else { self.0.apply(cx, seen).await }
    }
}

#[async_trait]
impl<A: Undo, B: Undo> Undo for Either<A, B> {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        if is_copy(cx).await? { self.1.undo(cx).await } else { self.0.undo(cx).await }
    }
}

/// What a copy does not need.
pub(super) struct Nothing;

#[async_trait]
impl Step for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, _cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        Ok(json!({ "needed": false }))
    }
}
