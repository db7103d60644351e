//! The services around ours that we call: one file each, with its trait, its HTTP client and, for tests, its stand-in.
//!
//! Owns: paths, bodies, time limits, and what an answer means.
//! Leaves to others: when to call and when to try again (`worker::outbox`), and how a `reqwest::Client` is built (`bootstrap`).

mod error;
pub mod killbill;
pub mod notifications;
pub mod sessions;
pub mod users;

pub use error::{ClientError, ClientResult};
pub use killbill::{KillBill, KillBillAccess, KillBillError};
pub use notifications::{Mail, NotificationService};
pub use sessions::{Session, SessionStore};
pub use users::{Customer, UserService};
