ALTER TABLE grants
    ADD COLUMN wake_at timestamptz,
    ADD COLUMN refused_since timestamptz,
    ADD COLUMN refused_as text,
    ADD COLUMN action_needed_since timestamptz;
COMMENT ON COLUMN grants.wake_at IS 'From when on a success of another call of the same app brings the next attempt forward; null: none does.';
COMMENT ON COLUMN grants.refused_since IS 'Since when the platform refuses this grant in the words of refused_as.';
COMMENT ON COLUMN grants.action_needed_since IS 'Since when the platform wants the person to act there; the application was told.';
COMMENT ON COLUMN grants.lease_holder IS 'Who holds the lease: the worker''s id, a dot, and a name for this one lease.';
