-- The part of a fresh Odoo 19 database that this service reads or writes, with Odoo's own names, types and first rows.
-- Repeatable, as a second initialisation of Odoo is.
CREATE TABLE IF NOT EXISTS res_partner (
    id serial PRIMARY KEY, name varchar, complete_name varchar, email varchar, type varchar, active boolean, is_company boolean,
    create_date timestamp, write_date timestamp,
    CONSTRAINT res_partner_check_name CHECK (type = 'contact' AND name IS NOT NULL OR type <> 'contact'));
CREATE TABLE IF NOT EXISTS res_company (
    id serial PRIMARY KEY, name varchar NOT NULL UNIQUE, partner_id integer NOT NULL REFERENCES res_partner ON DELETE RESTRICT,
    email varchar, active boolean, create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS res_users (
    id serial PRIMARY KEY, company_id integer NOT NULL REFERENCES res_company ON DELETE RESTRICT,
    partner_id integer NOT NULL REFERENCES res_partner ON DELETE RESTRICT, active boolean DEFAULT true,
    login varchar NOT NULL CONSTRAINT res_users_login_key UNIQUE, password varchar, share boolean,
    create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS ir_config_parameter (
    id serial PRIMARY KEY, key varchar NOT NULL CONSTRAINT ir_config_parameter_key_uniq UNIQUE, value text NOT NULL,
    create_uid integer, write_uid integer, create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS ir_module_module (
    id serial PRIMARY KEY, name varchar NOT NULL CONSTRAINT ir_module_module_name_uniq UNIQUE, state varchar(16),
    latest_version varchar, author varchar, shortdesc jsonb, application boolean DEFAULT false, demo boolean DEFAULT false,
    create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS ir_attachment (
    id serial PRIMARY KEY, name varchar NOT NULL, type varchar NOT NULL, res_model varchar, res_id integer, url varchar(1024),
    store_fname varchar, checksum varchar(40), mimetype varchar, file_size integer, public boolean, db_datas bytea,
    create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS ir_cron (
    id serial PRIMARY KEY, cron_name varchar, user_id integer NOT NULL REFERENCES res_users ON DELETE RESTRICT,
    interval_number integer NOT NULL CHECK (interval_number > 0), interval_type varchar NOT NULL, active boolean,
    nextcall timestamp NOT NULL, lastcall timestamp, create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS ir_mail_server (
    id serial PRIMARY KEY, name varchar NOT NULL, smtp_host varchar, smtp_port integer, smtp_encryption varchar,
    smtp_authentication varchar NOT NULL, active boolean, create_date timestamp, write_date timestamp);

INSERT INTO res_partner (id, name, complete_name, email, type, active) VALUES
    (1, 'My Company', 'My Company', NULL, 'contact', true), (2, 'System', 'System', 'odoobot@example.com', 'contact', false),
    (3, 'Administrator', 'Administrator', NULL, 'contact', true) ON CONFLICT DO NOTHING;
INSERT INTO res_company (id, name, partner_id, active) VALUES (1, 'My Company', 1, true) ON CONFLICT DO NOTHING;
-- Like Odoo's, the first administrator's password is "admin"; Odoo accepts it in clear and hashes it at the first login.
INSERT INTO res_users (id, company_id, partner_id, active, login, password) VALUES
    (1, 1, 2, false, '__system__', NULL), (2, 1, 3, true, 'admin', 'admin') ON CONFLICT DO NOTHING;
INSERT INTO ir_config_parameter (key, value) VALUES
    ('database.secret', gen_random_uuid()::text), ('database.uuid', gen_random_uuid()::text),
    ('database.create_date', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')),
    ('web.base.url', 'http://localhost:8069') ON CONFLICT DO NOTHING;
INSERT INTO ir_module_module (name, state, latest_version) VALUES
    ('base', 'installed', '19.0.1.3'), ('web', 'installed', '19.0.1.0'), ('bus', 'installed', '19.0.1.0'),
    ('account', 'uninstalled', NULL), ('contacts', 'uninstalled', NULL), ('crm', 'uninstalled', NULL), ('hr', 'uninstalled', NULL),
    ('mail', 'uninstalled', NULL), ('project', 'uninstalled', NULL), ('sale_management', 'uninstalled', NULL),
    ('stock', 'uninstalled', NULL), ('website', 'uninstalled', NULL) ON CONFLICT DO NOTHING;
INSERT INTO ir_cron (id, cron_name, user_id, interval_number, interval_type, active, nextcall) VALUES
    (1, 'Base: Auto-vacuum internal data', 1, 1, 'days', true, now() AT TIME ZONE 'UTC') ON CONFLICT DO NOTHING;
SELECT setval('res_partner_id_seq', max(id)) FROM res_partner;
SELECT setval('res_company_id_seq', max(id)) FROM res_company;
SELECT setval('res_users_id_seq', max(id)) FROM res_users;
SELECT setval('ir_cron_id_seq', max(id)) FROM ir_cron;
