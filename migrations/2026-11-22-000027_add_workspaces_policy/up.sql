ALTER TABLE workspaces
    ADD COLUMN account_policy text NOT NULL DEFAULT 'many'
        CONSTRAINT workspaces_account_policy_check CHECK (account_policy IN ('many', 'one_per_platform')),
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN destroyed_at timestamptz;
CREATE INDEX workspaces_deleted_idx ON workspaces (deleted_at) WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL;
COMMENT ON COLUMN workspaces.account_policy IS 'How many accounts of one platform may be in use at a time.';
COMMENT ON COLUMN workspaces.deleted_at IS 'Hidden since then; its accounts are disconnected and their grants released.';
COMMENT ON COLUMN workspaces.destroyed_at IS 'When its last revocation had ended and its data key and rows were destroyed.';
ALTER TABLE accounts ADD COLUMN exclusive boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX accounts_slot_key ON accounts (workspace_id, platform) WHERE exclusive AND status <> 'disconnected';
COMMENT ON COLUMN accounts.exclusive IS 'Came by an exclusive connect: it takes its platform''s one slot in the workspace while it is in use. The second guard: the first is the lock on the workspace''s row.';
