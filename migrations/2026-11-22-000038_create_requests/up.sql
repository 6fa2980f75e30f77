CREATE TABLE requests (
    producer     text COLLATE "C" NOT NULL,
    message_id   text COLLATE "C" NOT NULL,
    kind         text NOT NULL,
    fingerprint  bytea NOT NULL,
    workspace_id text COLLATE "C" CONSTRAINT requests_workspace_id_fkey REFERENCES workspaces (id) ON DELETE CASCADE,
    subject_id   text COLLATE "C",
    sealed_reply bytea,
    refusal      jsonb,
    created_at   timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (producer, message_id),
    CONSTRAINT requests_answer_check CHECK ((sealed_reply IS NULL) <> (refusal IS NULL)),
    CONSTRAINT requests_sealed_check CHECK (sealed_reply IS NULL OR workspace_id IS NOT NULL)
);
CREATE INDEX requests_created_at_idx ON requests (created_at);
CREATE INDEX requests_workspace_id_idx ON requests (workspace_id);
COMMENT ON TABLE requests IS 'What producers asked for over the broker, and what they were answered, for a week.';
COMMENT ON COLUMN requests.producer IS 'The user of the broker; empty for messages without one, which only a broker with one owner may bring.';
COMMENT ON COLUMN requests.message_id IS 'The AMQP property of the same name: asked twice, done once.';
COMMENT ON COLUMN requests.fingerprint IS 'Keyed hash of type and body: what the message id stands for.';
COMMENT ON COLUMN requests.subject_id IS 'The connect or the account that it was about.';
COMMENT ON COLUMN requests.sealed_reply IS 'Written in the transaction of what the request did. A reply may hold a live state and a link.';
COMMENT ON COLUMN requests.refusal IS 'Why nothing was done, where asking again would bring the same.';
