CREATE TABLE workers (
    id         text COLLATE "C" CONSTRAINT workers_pkey PRIMARY KEY,
    started_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE workers IS 'The worker processes. Each renews its row every few seconds, by the server''s own clock.';
