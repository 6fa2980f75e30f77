CREATE TABLE producers (
    broker_user text COLLATE "C" CONSTRAINT producers_pkey PRIMARY KEY,
    api_key_id  text COLLATE "C" NOT NULL CONSTRAINT producers_api_key_id_fkey REFERENCES api_keys (id) ON DELETE CASCADE,
    created_at  timestamptz NOT NULL
);
CREATE INDEX producers_api_key_id_idx ON producers (api_key_id);
COMMENT ON TABLE producers IS 'Users of the broker that may ask for work, each with the role and reach of an API key.';
COMMENT ON COLUMN producers.broker_user IS 'The AMQP property user_id, which RabbitMQ checks against the connection.';
