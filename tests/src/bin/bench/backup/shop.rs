//! An instance with something in it. What it holds is the same in each run.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use stories::{Place, Stack};
use testkit::Cluster;

/// Lengths are spread evenly up to this one: 50 KiB on average, as 5 GB in 100,000 files have.
const LONGEST: u64 = 100 * 1024;
/// Some are longer than an object of a store.
const LONG: u64 = 9 << 20;

/// What an instance is to hold.
pub(crate) struct Content {
    /// Entries of its books, with five lines each.
    pub(crate) moves: u32,
    pub(crate) files: u32,
}

pub(crate) struct Shop {
    pub(crate) id: String,
    pub(crate) place: Place,
    content_bytes: u64,
    files: u32,
    database_bytes: u64,
}

impl Shop {
    pub(crate) fn make(stack: &Stack, name: &str, content: &Content) -> Result<Self> {
        let (id, operation) = stack.provision(&stack.order(name)?)?;
        stack.await_success(&operation, Duration::from_secs(300))?;
        let place = stack.place(&id)?;
        let mut shop = Self { id, place, content_bytes: 0, files: content.files, database_bytes: 0 };
        shop.write_files(&stack.pair.postgres2)?;
        let server = &stack.pair.postgres2;
        let database = &shop.place.database;
        server.psql(database, &shop.as_tenant(&books(content.moves)))?;
        server.psql(database, "VACUUM ANALYZE")?;
        let bytes = server.psql(database, "SELECT pg_database_size(current_database())")?;
        shop.database_bytes = bytes.parse().context("no size")?;
        Ok(shop)
    }

    /// The filestore.
    pub(crate) fn filestore(&self) -> PathBuf {
        self.place.directory.join("data/filestore").join(&self.place.database)
    }

    pub(crate) fn describe(&self) -> Result<String> {
        ensure!(self.filestore().is_dir(), "the filestore is gone");
        let mib = |bytes: u64| bytes / (1024 * 1024);
        let (database, files) = (mib(self.database_bytes), mib(self.content_bytes));
        Ok(format!("a database of {database} MiB and {} files of {files} MiB in all", self.files))
    }

    fn as_tenant(&self, sql: &str) -> String {
        format!("SET ROLE \"{}\";\n{sql}", self.place.role)
    }

    fn write_files(&mut self, server: &Cluster) -> Result<()> {
        let filestore = self.filestore();
        let mut rows = "COPY ir_attachment (name, type, store_fname, checksum, file_size, mimetype) FROM stdin;\n".to_owned();
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for number in 0..self.files {
            let length = if number % 10_000 == 5_000 { LONG } else { noise.next() % LONGEST + 1 };
            let content = noise.bytes(length);
            let sum: String =
                digest(&SHA1_FOR_LEGACY_USE_ONLY, &content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            let directory = filestore.join(&sum[..2]);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(&sum), &content)?;
            writeln!(rows, "file-{number}.pdf\tbinary\t{}/{sum}\t{sum}\t{length}\tapplication/pdf", &sum[..2])?;
            self.content_bytes += length;
        }
        rows.push_str("\\.\n");
        server.psql(&self.place.database, &self.as_tenant(&rows)).map(drop)
    }
}

/// Books as Odoo's: wide rows, text that compresses, many indexes, references.
fn books(moves: u32) -> String {
    if moves == 0 {
        return String::new();
    }
    format!(
        "CREATE TABLE account_move (id serial PRIMARY KEY, name varchar, ref varchar, date date, partner_id integer, state varchar,
             amount_total numeric, narration text, create_date timestamp, write_date timestamp);
         CREATE TABLE account_move_line (id serial PRIMARY KEY, move_id integer NOT NULL REFERENCES account_move, account_id integer,
             partner_id integer, name varchar, debit numeric, credit numeric, balance numeric, date date, create_date timestamp);
         CREATE TABLE mail_message (id serial PRIMARY KEY, model varchar, res_id integer, subject varchar, body text, message_id varchar,
             date timestamp);
         INSERT INTO account_move (name, ref, date, partner_id, state, amount_total, narration, create_date, write_date)
             SELECT 'INV/2026/' || n, md5(n::text), date '2020-01-01' + n % 2000, n % 5000, 'posted', (n % 100000) / 7.0,
                    'Delivered to ' || md5((n % 977)::text) || ', payable within thirty days', now(), now()
               FROM generate_series(1, {moves}) n;
         INSERT INTO account_move_line (move_id, account_id, partner_id, name, debit, credit, balance, date, create_date)
             SELECT n / 5 + 1, n % 300, n % 5000, 'Line ' || n || ' of ' || md5((n % 4999)::text), (n % 1000) / 3.0, 0, (n % 1000) / 3.0,
                    date '2020-01-01' + n % 2000, now()
               FROM generate_series(0, {moves} * 5 - 1) n;
         INSERT INTO mail_message (model, res_id, subject, body, message_id, date)
             SELECT 'account.move', n, 'Invoice ' || n, '<p>Dear ' || md5((n % 5000)::text) || '</p>' || repeat('<p>your invoice '
                    || md5(n::text) || ' is attached to this message</p>', 5), md5(n::text) || '@example.com', now()
               FROM generate_series(1, {moves}) n;
         CREATE INDEX ON account_move (name); CREATE INDEX ON account_move (date, name, id); CREATE INDEX ON account_move (partner_id);
         CREATE INDEX ON account_move_line (move_id); CREATE INDEX ON account_move_line (account_id, date);
         CREATE INDEX ON account_move_line (partner_id); CREATE INDEX ON account_move_line (date, id);
         CREATE INDEX ON mail_message (model, res_id); CREATE INDEX ON mail_message (message_id);"
    )
}

/// Bytes that do not compress (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        bytes
    }
}
