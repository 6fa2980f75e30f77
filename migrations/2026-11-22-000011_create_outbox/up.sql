CREATE TABLE outbox (
    id           text COLLATE "C" NOT NULL,
    kind         text NOT NULL,
    routing_key  text NOT NULL,
    body         jsonb NOT NULL,
    available_at timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    publications integer NOT NULL DEFAULT 0,
    last_error   text,
    ending       text,
    done_at      timestamptz,
    created_at   timestamptz NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;
CREATE INDEX outbox_open_idx ON outbox (available_at) WHERE done_at IS NULL;
COMMENT ON TABLE outbox IS 'Messages that were committed with the change they speak of. A row is published until it is done: an event when the broker confirmed it, a command when its handler ended.';
COMMENT ON COLUMN outbox.id IS 'Also the AMQP message_id.';
COMMENT ON COLUMN outbox.available_at IS 'When the relay may publish it (again).';
COMMENT ON COLUMN outbox.attempts IS 'How often a handler began. The broker''s own count is only the last guard.';
