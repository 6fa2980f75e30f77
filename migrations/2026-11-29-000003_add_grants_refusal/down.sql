ALTER TABLE grants DROP COLUMN wake_at, DROP COLUMN refused_since, DROP COLUMN refused_as, DROP COLUMN action_needed_since;
COMMENT ON COLUMN grants.lease_holder IS NULL;
