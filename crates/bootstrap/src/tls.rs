//! The one TLS provider of the process.

/// Makes aws-lc-rs the provider of every TLS connection. Repeating it is harmless.
pub fn install() {
    // An error only says that a provider is installed already, and nobody else installs one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
