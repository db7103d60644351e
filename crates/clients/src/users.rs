//! The user service: who a customer is.

use crate::error::{ClientError, ClientResult};
use async_trait::async_trait;
use domain::ids::CustomerId;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use url::Url;

const NAME: &str = "user service";
/// Longest wait for one answer (contract 11.5).
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// What we need to know of a customer. `Debug` shows nothing personal.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Customer {
    /// Where mails go.
    pub email: String,
    /// For the greeting.
    #[serde(default)]
    pub first_name: Option<String>,
}

impl Customer {
    /// How a mail greets: the first name, or "there" when there is none.
    pub fn greeting(&self) -> &str {
        match self.first_name.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => name,
            _ => "there",
        }
    }
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer(..)")
    }
}

/// Knows the customers.
#[async_trait]
pub trait UserService: Send + Sync {
    /// The customer with this id.
    ///
    /// # Errors
    /// No answer, or none that we can use.
    async fn customer(&self, id: CustomerId) -> ClientResult<Customer>;
}

/// The user service over HTTP.
#[derive(Clone, Debug)]
pub struct HttpUserService {
    http: reqwest::Client,
    base: Url,
}

impl HttpUserService {
    /// The user service at `base`.
    pub const fn new(http: reqwest::Client, base: Url) -> Self {
        Self { http, base }
    }
}

#[async_trait]
impl UserService for HttpUserService {
    async fn customer(&self, id: CustomerId) -> ClientResult<Customer> {
        let address = format!("{}/users/internal/{id}", self.base.as_str().trim_end_matches('/'));
        let answer = self.http.get(address).timeout(TIMEOUT).send().await.map_err(|error| ClientError::transport(NAME, error))?;
        if !answer.status().is_success() {
            return Err(ClientError::status(NAME, answer.status()));
        }
        answer.json().await.map_err(|error| ClientError::transport(NAME, error))
    }
}

/// In memory, for tests.
#[cfg(feature = "fake")]
pub mod fake {
    use super::{ClientError, ClientResult, Customer, CustomerId, UserService, async_trait};
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// Answers with what it was told; without anything told it is not reachable.
    #[derive(Debug, Default)]
    pub struct FakeUsers {
        customers: Mutex<HashMap<CustomerId, Customer>>,
    }

    impl FakeUsers {
        /// From now on `id` is this customer.
        pub fn put(&self, id: CustomerId, email: &str, first_name: Option<&str>) {
            let customer = Customer { email: email.to_owned(), first_name: first_name.map(str::to_owned) };
            self.lock().insert(id, customer);
        }

        fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CustomerId, Customer>> {
            self.customers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[async_trait]
    impl UserService for FakeUsers {
        async fn customer(&self, id: CustomerId) -> ClientResult<Customer> {
            let unavailable = || ClientError::Unavailable { service: super::NAME, cause: "cannot connect".to_owned() };
            self.lock().get(&id).cloned().ok_or_else(unavailable)
        }
    }
}
