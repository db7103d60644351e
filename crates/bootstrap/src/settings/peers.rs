//! The services that we call, and the addresses that mails point to.

use super::reader::Reader;
use super::variables as v;
use url::Url;

/// Neighbours of the worker.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Knows the customers.
    pub user_service: Url,
    /// Sends mails.
    pub notification_service: Url,
    /// For the links in mails.
    pub frontend: Url,
}

impl PeerSettings {
    pub(super) fn read(reader: &mut Reader<'_>, base_domain: Option<&str>) -> Option<Self> {
        let user_service = reader.base_url(&v::USER_SERVICE_URL, None);
        let notification_service = reader.base_url(&v::NOTIFICATION_SERVICE_URL, None);
        let frontend = base_domain.map(|domain| format!("http://app.{domain}"));
        let frontend = reader.base_url(&v::FRONTEND_URL, frontend.as_deref());
        Some(Self { user_service: user_service?, notification_service: notification_service?, frontend: frontend? })
    }
}
