//! The body of a create request: JSON to [`domain::order`]. Types are checked here, rules there.

use crate::fields::Fields;
use crate::problem::{FieldProblem, Problem};
use domain::order::{self, Amendment, Order, OrderRules, RawOrder};
use domain::problem::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Reads an order. Wrong types and broken rules of form are reported together.
///
/// # Errors
/// 422 for form, 400 for a missing subscription.
pub(crate) fn read(object: Map<String, Value>, rules: &OrderRules) -> Result<Order, Problem> {
    let mut fields = Fields::of(object);
    let raw = raw(&mut fields);
    let mut problems = fields.into_problems();
    let order = order::parse(raw, rules);
    if problems.is_empty() {
        return order.map_err(Problem::from);
    }
    if let Err(Refusal::Schema(errors)) = order {
        // A field of the wrong type was left out above; that it is missing is not news.
        let wrong: Vec<String> = problems.iter().filter_map(|problem| problem.loc.get(1).cloned()).collect();
        problems.extend(errors.into_iter().filter(|error| !wrong.contains(&error.field)).map(FieldProblem::from));
    }
    Err(Problem::invalid(problems))
}

/// Reads a change of an order.
///
/// # Errors
/// 422 for form, 400 for a house rule.
pub(crate) fn read_amendment(object: Map<String, Value>) -> Result<Amendment, Problem> {
    // What cannot change is ignored, whatever it holds.
    let changing = object.into_iter().filter(|(name, _)| !FIXED.contains(&name.as_str())).collect();
    let mut fields = Fields::of(changing);
    let raw = raw(&mut fields);
    let mut problems = fields.into_problems();
    let amendment = order::parse_amendment(raw);
    if problems.is_empty() {
        return amendment.map_err(Problem::from);
    }
    if let Err(Refusal::Schema(errors)) = amendment {
        problems.extend(errors.into_iter().map(FieldProblem::from));
    }
    Err(Problem::invalid(problems))
}

/// Fields of an order that a change does not touch.
const FIXED: &[&str] =
    &["odoo_version", "admin_password", "database_name", "subdomain", "customer_id", "subscription_id", "billing_status"];

fn raw(fields: &mut Fields) -> RawOrder {
    RawOrder {
        name: fields.text("name"),
        odoo_version: fields.version("odoo_version"),
        instance_type: fields.text("instance_type"),
        description: fields.text("description"),
        cpu_limit: fields.number("cpu_limit"),
        memory_limit: fields.text("memory_limit"),
        storage_limit: fields.text("storage_limit"),
        admin_email: fields.text("admin_email"),
        admin_password: fields.secret("admin_password"),
        database_name: fields.text("database_name"),
        subdomain: fields.text("subdomain"),
        demo_data: fields.switch("demo_data"),
        custom_addons: fields.texts("custom_addons"),
        disabled_modules: fields.texts("disabled_modules"),
        environment_vars: fields.text_map("environment_vars"),
        metadata: fields.object("metadata"),
        customer_id: fields.text("customer_id"),
        subscription_id: fields.text("subscription_id"),
        billing_status: fields.text("billing_status"),
        db_type: fields.text("db_type"),
    }
}

/// An order for a new instance, for the description of the API.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateInstance, example = json!({
    "name": "Shop of the north", "odoo_version": "17", "instance_type": "production", "admin_email": "owner@shop.example",
    "database_name": "north_shop", "subdomain": "north-shop", "cpu_limit": 1.0, "memory_limit": "2G", "storage_limit": "10G",
    "customer_id": "0d2f8a4e-2c6b-4f53-9d3e-6a1b7c8d9e0f", "subscription_id": "7b1f6c52-90ad-4a5e-8a57-3f4f2b9d1c60", "billing_status": "paid",
}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(crate) struct CreateBody {
    /// What the customer calls it: 1 to 100 characters, not only blanks.
    #[schema(example = "Shop of the north", min_length = 1, max_length = 100)]
    name: String,
    /// Major version, as text or number; `17`, `17.0` and `v17` are the same.
    #[schema(example = "19")]
    odoo_version: Option<String>,
    /// `development`, `staging` or `production`.
    #[schema(example = "production", default = "development")]
    instance_type: Option<String>,
    /// At most 500 characters.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// CPUs, two decimals.
    #[schema(minimum = 0.1, maximum = 8.0, default = 1.0)]
    cpu_limit: Option<f64>,
    /// `<int>M` or `<int>G`.
    #[schema(example = "2G", default = "1G")]
    memory_limit: Option<String>,
    /// `<int>M` or `<int>G`.
    #[schema(example = "20G", default = "10G")]
    storage_limit: Option<String>,
    /// Address of the administrator; it is also the login.
    #[schema(example = "owner@shop.example", max_length = 255)]
    admin_email: String,
    /// Accepted for compatibility, checked and discarded: the password is always generated.
    #[schema(write_only)]
    admin_password: Option<String>,
    /// The customer's label: 1 to 50 letters, digits, `_`, `-`.
    #[schema(example = "shop_north", min_length = 1, max_length = 50)]
    database_name: String,
    /// The host label; made from `database_name` when absent.
    #[schema(example = "shop-north", min_length = 3, max_length = 50)]
    subdomain: Option<String>,
    /// Whether Odoo gets its demonstration data.
    #[schema(default = false)]
    demo_data: Option<bool>,
    /// Technical names of modules to install.
    custom_addons: Option<Vec<String>>,
    /// Technical names of modules that stay out.
    disabled_modules: Option<Vec<String>>,
    /// Environment of the service; reserved names are refused.
    #[schema(value_type = Option<Object>)]
    environment_vars: Option<Value>,
    /// Anything the client wants to keep with the instance.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// The owner.
    customer_id: uuid::Uuid,
    /// What pays for it; at most one live instance belongs to a subscription.
    subscription_id: uuid::Uuid,
    /// `payment_required`, `trial` or `paid`.
    #[schema(example = "trial", default = "payment_required")]
    billing_status: Option<String>,
    /// Accepted for compatibility: a new instance is always `pending`.
    provisioning_status: Option<String>,
    /// `shared` or `dedicated`.
    #[schema(default = "shared")]
    db_type: Option<String>,
}

/// What may change of an instance; absent and null leave a field as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeInstance, example = json!({"cpu_limit": 2.0, "memory_limit": "4G", "storage_limit": "20G"}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(crate) struct AmendBody {
    /// What the customer calls it: 1 to 100 characters, not only blanks.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// At most 500 characters.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// `development`, `staging` or `production`.
    instance_type: Option<String>,
    /// CPUs, two decimals.
    #[schema(example = 2.0, minimum = 0.1, maximum = 8.0)]
    cpu_limit: Option<f64>,
    /// `<int>M` or `<int>G`.
    #[schema(example = "4G")]
    memory_limit: Option<String>,
    /// `<int>M` or `<int>G`.
    #[schema(example = "40G")]
    storage_limit: Option<String>,
    /// Address of the administrator, as the platform knows it; Odoo's own login stays.
    #[schema(max_length = 255)]
    admin_email: Option<String>,
    /// Kept with the record; it changes no data.
    demo_data: Option<bool>,
    /// Replaces the list.
    custom_addons: Option<Vec<String>>,
    /// Replaces the list.
    disabled_modules: Option<Vec<String>>,
    /// Replaces all of them; they reach Odoo at its next start.
    #[schema(value_type = Option<Object>)]
    environment_vars: Option<Value>,
    /// Replaces all of it.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// `shared` or `dedicated`.
    db_type: Option<String>,
}
