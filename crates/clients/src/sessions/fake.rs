//! Sessions in memory, for tests.

use super::{Session, SessionStore};
use crate::error::{ClientError, ClientResult};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Answers with what it was told; `down`, it does not answer.
#[derive(Debug, Default)]
pub struct FakeSessions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<String, Session>,
    down: bool,
    asked: u32,
}

impl FakeSessions {
    /// From now on the token is this session's.
    pub fn put(&self, token: &str, session: Session) {
        self.with(|state| {
            state.sessions.insert(token.to_owned(), session);
        });
    }

    /// From now on the token is nobody's.
    pub fn remove(&self, token: &str) {
        self.with(|state| {
            state.sessions.remove(token);
        });
    }

    /// Whether it answers.
    pub fn set_down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.with(|state| state.asked)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl SessionStore for FakeSessions {
    async fn session(&self, token: &SecretString, now: DateTime<Utc>) -> ClientResult<Option<Session>> {
        self.with(|state| {
            state.asked += 1;
            if state.down {
                return Err(ClientError::Unavailable { service: "session store", cause: "down".to_owned() });
            }
            let session = state.sessions.get(token.expose_secret()).copied();
            Ok(session.filter(|session| session.expires_at.is_none_or(|end| end > now)))
        })
    }
}
