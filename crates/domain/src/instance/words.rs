//! The words of an instance's axes, as stored and shown (contract 6.1, 6.2).

use crate::words;

words! {
    /// The public status that clients read (contract 6.1). "Live" means not terminated.
    Status {
        /// Recorded; nothing provisioned.
        Creating = "creating",
        /// On its way up.
        Starting = "starting",
        /// Serving.
        Running = "running",
        /// On its way down.
        Stopping = "stopping",
        /// Down by request.
        Stopped = "stopped",
        /// Down and up again.
        Restarting = "restarting",
        /// Being updated.
        Updating = "updating",
        /// A backup, restore or move is under way.
        Maintenance = "maintenance",
        /// Failed; `error_message` says why.
        Error = "error",
        /// Out of service for good, or until reactivated.
        Terminated = "terminated",
        /// The runtime has no service for it.
        ContainerMissing = "container_missing",
        /// Suspended.
        Paused = "paused",
    }
}

words! {
    /// Whether the subscription is paid.
    BillingStatus {
        /// Nothing paid yet, or payment outstanding.
        PaymentRequired = "payment_required",
        /// In trial.
        Trial = "trial",
        /// Paid.
        Paid = "paid",
    }
}

impl BillingStatus {
    /// Reads a client's word. The earlier service called `payment_required` `pending_payment`.
    pub fn parse_client(word: &str) -> Option<Self> {
        if word == "pending_payment" { Some(Self::PaymentRequired) } else { Self::parse(word) }
    }
}

words! {
    /// How far provisioning got.
    ProvisioningStatus {
        /// Not ordered.
        Pending = "pending",
        /// Ordered and under way.
        Provisioning = "provisioning",
        /// Done.
        Completed = "completed",
        /// Failed and undone.
        Failed = "failed",
    }
}

words! {
    /// What exists of an instance.
    Phase {
        /// A row, no data.
        Registered = "registered",
        /// Has data.
        Ready = "ready",
        /// Being removed for good.
        Purging = "purging",
        /// Removed; the row is a scrubbed record.
        Purged = "purged",
    }
}

words! {
    /// What was asked for.
    DesiredState {
        /// Nothing yet.
        None = "none",
        /// Shall run.
        Running = "running",
        /// Shall be down.
        Stopped = "stopped",
        /// Shall be out of service.
        Terminated = "terminated",
    }
}

words! {
    /// Why an instance may not run.
    Suspension {
        /// Not suspended.
        None = "none",
        /// A payment is outstanding.
        Debt = "debt",
        /// An operator said so.
        Operator = "operator",
    }
}

words! {
    /// What was last seen at the runtime; written by worker and monitoring only.
    ObservedState {
        /// Never seen.
        Unknown = "unknown",
        /// No service.
        Absent = "absent",
        /// Coming up.
        Starting = "starting",
        /// Answers.
        Running = "running",
        /// Runs without answering.
        Unhealthy = "unhealthy",
        /// Down.
        Stopped = "stopped",
        /// Exited by itself.
        Failed = "failed",
    }
}

words! {
    /// What the customer says the instance is for; no difference in behaviour.
    InstanceType {
        /// Development.
        Development = "development",
        /// Staging.
        Staging = "staging",
        /// Production.
        Production = "production",
    }
}

words! {
    /// Tier of the Odoo server that an order asks for.
    DbType {
        /// A server shared by many.
        Shared = "shared",
        /// A server of one's own.
        Dedicated = "dedicated",
    }
}
