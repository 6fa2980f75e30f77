DROP INDEX accounts_slot_key;
ALTER TABLE accounts DROP COLUMN exclusive;
DROP INDEX workspaces_deleted_idx;
ALTER TABLE workspaces DROP COLUMN destroyed_at, DROP COLUMN deleted_at, DROP COLUMN account_policy;
