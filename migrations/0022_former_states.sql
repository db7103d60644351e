-- Of several former states of an instance's data the first is kept, whatever was taken back meanwhile; and what ran on each runs on it again.
-- Rows of an older release say nothing here: they were brought by the exchange before the one that replaced them.
ALTER TABLE instance_service.replaced_data
    ADD COLUMN born        integer,                      -- number of the exchange that brought these data; 0: none did
    ADD COLUMN followed_by integer,                      -- the same of the data that replaced them
    ADD COLUMN image       text;                         -- what ran on them
