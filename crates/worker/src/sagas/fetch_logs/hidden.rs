//! What no log line may tell a client (contract 4.1): secrets, physical names, where the database server is.

use bootstrap::masking::{MASK, mask};
use db::platform::instances::Placement;
use secrecy::{ExposeSecret as _, SecretString};
use std::net::IpAddr;

const SERVER: &str = "database-server";

pub(super) struct Hidden {
    password: Option<SecretString>,
    /// Each with what stands there instead; in this order, since some are parts of others.
    names: Vec<(String, String)>,
    words: Vec<(String, String)>,
}

impl Hidden {
    /// `label` is the customer's own word for the database.
    pub(super) fn of(placement: &Placement, label: &str, password: Option<&SecretString>) -> Self {
        let (host, port) = (&placement.db_host, placement.db_port);
        let names = vec![
            (placement.data_dir.clone(), "data-directory".to_owned()),
            (placement.db_name.to_string(), label.to_owned()),
            (placement.db_user.to_string(), label.to_owned()),
            (placement.service_name.clone(), label.to_owned()),
        ];
        let mut words =
            vec![(format!("{host}:{port}"), SERVER.to_owned()), (format!("\"{host}\", port {port}"), format!("\"{SERVER}\""))];
        // A bare number may be anybody's: callers are shown by theirs.
        if host.parse::<IpAddr>().is_err() {
            words.push((host.clone(), SERVER.to_owned()));
        }
        Self { password: password.map(|password| password.expose_secret().to_owned().into()), names, words }
    }

    pub(super) fn take_out_of(&self, line: &str) -> String {
        let line = match &self.password {
            Some(password) => line.replace(password.expose_secret(), MASK),
            None => line.to_owned(),
        };
        // Physical names are nobody else's words; only a host may be called like a part of another.
        let line = self.names.iter().fold(line, |line, (name, instead)| line.replace(name, instead));
        mask(&self.words.iter().fold(line, |line, (word, instead)| replace_word(&line, word, instead)))
    }
}

/// Puts `instead` where `word` stands by itself: a host that is called `db` is not in every `dbname`.
fn replace_word(line: &str, word: &str, instead: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let (mut text, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, after)) = rest.split_once(word).filter(|_| !word.is_empty()) {
        let stands_alone = !before.ends_with(is_part) && !after.starts_with(is_part);
        text.push_str(before);
        text.push_str(if stands_alone { instead } else { word });
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use domain::ids::ServerId;
    use domain::names::{Mark, PhysicalName};

    fn hidden(host: &str) -> Hidden {
        let name = || PhysicalName::new("odoo_0123456789abcdef").unwrap();
        let placement = Placement {
            server: ServerId::from_uuid(uuid::Uuid::nil()),
            db_host: host.to_owned(),
            db_port: 5433,
            db_name: name(),
            db_user: name(),
            service_name: "odoo-0123456789abcdef".to_owned(),
            data_dir: "/srv/instances/odoo_0123456789abcdef".to_owned(),
            mark: Mark::parse("0123456789abcdef").unwrap(),
            external_port: Some(20_000),
            image_profile: None,
            image: None,
        };
        Hidden::of(&placement, "shop", Some(&SecretString::from("hunter2")))
    }

    #[test]
    fn physical_names_and_the_server_are_taken_out_of_a_line() {
        for (host, line, expected) in [
            ("10.0.0.7", "1 INFO odoo_0123456789abcdef odoo.modules: loaded", "1 INFO shop odoo.modules: loaded"),
            // What is left looks like an address of mail.
            ("10.0.0.7", "database: odoo_0123456789abcdef@10.0.0.7:5433", "database: ***"),
            (
                "10.0.0.7",
                "connection to server at \"10.0.0.7\", port 5433 failed: role \"odoo_0123456789abcdef\"",
                "connection to server at \"database-server\" failed: role \"shop\"",
            ),
            ("10.0.0.7", "10.0.0.7 - - GET /web/login", "10.0.0.7 - - GET /web/login"),
            (
                "pg2.internal",
                "could not translate host name \"pg2.internal\"",
                "could not translate host name \"database-server\"",
            ),
            (
                "pg2.internal",
                "filestore in /srv/instances/odoo_0123456789abcdef/data/filestore/odoo_0123456789abcdef",
                "filestore in data-directory/data/filestore/shop",
            ),
            ("pg2.internal", "password is hunter2, or xhunter2x", "password is ***, or x***x"),
            ("db", "dbname on my-db is not db; db.", "dbname on my-db is not database-server; database-server."),
            ("", "a line: as it is", "a line: as it is"),
            ("pg2.internal", "odoo_0123456789abcdef_export.csv", "shop_export.csv"),
            ("pg2.internal", "service odoo-0123456789abcdef ends", "service shop ends"),
        ] {
            assert_eq!(hidden(host).take_out_of(line), expected);
        }
    }
}
