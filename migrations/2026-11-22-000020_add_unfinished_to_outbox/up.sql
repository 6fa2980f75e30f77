ALTER TABLE outbox ADD COLUMN unfinished integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN outbox.unfinished IS 'Attempts in a row that began and whose ending nobody noted: their process was gone. Counted apart, since such a message may take others with it.';
