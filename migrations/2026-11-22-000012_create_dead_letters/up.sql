CREATE TABLE dead_letters (
    id          text COLLATE "C" CONSTRAINT dead_letters_pkey PRIMARY KEY,
    message_id  text,
    type        text,
    queue       text,
    routing_key text NOT NULL,
    headers     jsonb NOT NULL,
    body        bytea NOT NULL,
    reason      text NOT NULL,
    died_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX dead_letters_message_key ON dead_letters (message_id, queue) WHERE message_id IS NOT NULL;
COMMENT ON TABLE dead_letters IS 'Messages that no handler could finish, kept until a person looks.';
