CREATE SEQUENCE account_history_position_seq;
CREATE TABLE account_history (
    position     bigint NOT NULL DEFAULT nextval('account_history_position_seq'),
    workspace_id text COLLATE "C" NOT NULL,
    account_id   text COLLATE "C" NOT NULL,
    type         text NOT NULL,
    data         jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT account_history_pkey PRIMARY KEY (position, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE account_history_position_seq OWNED BY account_history.position;
CREATE TABLE account_history_default PARTITION OF account_history DEFAULT;
CREATE INDEX account_history_account_id_idx ON account_history (account_id, position);
COMMENT ON TABLE account_history IS 'What happened to each account: its events, and every refresh that was answered or failed. Dropped by day.';
COMMENT ON COLUMN account_history.position IS 'Orders the rows of one account, also those of one transaction.';
