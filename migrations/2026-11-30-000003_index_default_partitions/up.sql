-- Rows of a day that had no partition yet are in the default partition. They are pruned one by one.
CREATE INDEX events_default_created_at_idx ON events_default (created_at);
CREATE INDEX account_history_default_created_at_idx ON account_history_default (created_at);
CREATE INDEX outbox_default_created_at_idx ON outbox_default (created_at) WHERE done_at IS NOT NULL;
