DROP INDEX grants_trouble_idx;
DROP INDEX grants_lapsing_idx;
CREATE INDEX grants_due_idx ON grants (next_attempt_at) WHERE status = 'active' AND next_attempt_at IS NOT NULL;
DROP INDEX grants_app_due_idx;
