ALTER TABLE outbox DROP COLUMN unfinished;
