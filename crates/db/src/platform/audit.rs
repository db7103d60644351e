//! Who asked for a change, and the audit trail of changes.

domain::words! {
    /// Through which door a request came.
    Door {
        /// Our own services.
        Internal = "internal",
        /// Customers.
        Public = "public",
        /// The worker itself.
        Worker = "worker",
    }
}

/// Who asked, for the audit trail.
#[derive(Clone, Debug)]
pub struct AuditContext {
    /// The door.
    pub door: Door,
    /// Who, in the door's words.
    pub actor: String,
    /// Id of the request, for finding its log lines.
    pub request_id: Option<String>,
}
