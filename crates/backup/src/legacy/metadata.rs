//! What the earlier service wrote beside a backup. Its paths and sizes are not believed, nor is the name in it.

use chrono::{DateTime, NaiveDateTime, Utc};
use domain::ids::{CustomerId, InstanceId};
use domain::version::OdooVersion;
use serde_json::Value;
use std::str::FromStr;

/// Whose a backup is, and of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Of which instance.
    pub instance: InstanceId,
    /// Whose that was, if it says so.
    pub customer: Option<CustomerId>,
    /// What the database was called.
    pub database: Option<String>,
    /// Odoo's version, if it is one.
    pub odoo_version: Option<OdooVersion>,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
}

impl Metadata {
    /// Reads them.
    pub(super) fn of(text: &[u8]) -> Result<Self, String> {
        let fields: Value = serde_json::from_slice(text).map_err(|e| format!("it is no JSON: {e}"))?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let instance = text("instance_id").ok_or("it has no instance_id")?;
        let customer = text("customer_id");
        let taken_at = text("created_at").ok_or("it has no created_at")?;
        Ok(Self {
            instance: InstanceId::from_str(instance).map_err(|_| format!("its instance_id {instance:?} is none"))?,
            customer: customer
                .map(|id| CustomerId::from_str(id).map_err(|_| format!("its customer_id {id:?} is none")))
                .transpose()?,
            database: text("database_name").map(str::to_owned),
            odoo_version: text("odoo_version").and_then(OdooVersion::parse),
            taken_at: time(taken_at).ok_or_else(|| format!("its created_at {taken_at:?} is no time"))?,
        })
    }
}

/// Without an offset it is UTC, as Python's `datetime.utcnow().isoformat()` writes it.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let offset = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    offset().or_else(|| NaiveDateTime::from_str(text).ok().map(|at| at.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f3c5e-0000-7000-8000-000000000001";

    #[test]
    fn what_the_earlier_service_wrote_is_read() {
        let text = format!(
            r#"{{"backup_name": "b", "instance_id": "{ID}", "customer_id": "{ID}", "database_name": "shop", "odoo_version": "17.0",
                 "created_at": "2025-03-04T05:06:07.123456", "database_size": 1, "data_size": 2, "status": "completed"}}"#
        );
        let metadata = Metadata::of(text.as_bytes()).unwrap();
        assert_eq!(metadata.instance.to_string(), ID);
        assert_eq!(metadata.customer.map(|id| id.to_string()).as_deref(), Some(ID));
        assert_eq!((metadata.database.as_deref(), metadata.odoo_version), (Some("shop"), Some(OdooVersion::new(17))));
        assert_eq!(metadata.taken_at.to_rfc3339(), "2025-03-04T05:06:07.123456+00:00");
        let least = format!(r#"{{"instance_id": "{ID}", "created_at": "2025-03-04T07:06:07+02:00", "odoo_version": 3}}"#);
        let least = Metadata::of(least.as_bytes()).unwrap();
        assert_eq!((least.customer, least.database, least.odoo_version), (None, None, None));
        assert_eq!(least.taken_at.to_rfc3339(), "2025-03-04T05:06:07+00:00");
    }

    #[test]
    fn what_does_not_say_whose_it_is_is_refused_in_words() {
        for (text, why) in [
            ("", "it is no JSON"),
            ("[]", "it has no instance_id"),
            (r#"{"instance_id": "shop", "created_at": "2025-03-04T05:06:07"}"#, "its instance_id \"shop\" is none"),
            (&format!(r#"{{"instance_id": "{ID}"}}"#), "it has no created_at"),
            (&format!(r#"{{"instance_id": "{ID}", "created_at": "yesterday"}}"#), "is no time"),
            (&format!(r#"{{"instance_id": "{ID}", "created_at": "2025-03-04T05:06:07", "customer_id": "c"}}"#), "customer_id"),
        ] {
            let told = Metadata::of(text.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
