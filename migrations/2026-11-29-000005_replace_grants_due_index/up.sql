-- The planner asks app by app, so that no app's backlog hides another's.
CREATE INDEX grants_app_due_idx ON grants (platform, (coalesce(app_id, '')), next_attempt_at) WHERE status = 'active' AND next_attempt_at IS NOT NULL;
DROP INDEX grants_due_idx;
-- Ended access tokens that nobody has noticed yet.
CREATE INDEX grants_lapsing_idx ON grants (access_expires_at) WHERE status = 'active' AND renewable AND overdue_since IS NULL;
-- The few that wait for their app, are in doubt or overdue.
CREATE INDEX grants_trouble_idx ON grants (platform, (coalesce(app_id, ''))) WHERE status = 'active' AND (wake_at IS NOT NULL OR in_doubt_since IS NOT NULL OR overdue_since IS NOT NULL);
