CREATE TABLE app_pauses (
    platform text NOT NULL,
    app_id   text COLLATE "C" NOT NULL,
    until    timestamptz NOT NULL,
    reason   text NOT NULL,
    CONSTRAINT app_pauses_pkey PRIMARY KEY (platform, app_id)
);
COMMENT ON TABLE app_pauses IS 'Platform apps that are left alone for a while: the platform asked for it, or refuses our client.';
COMMENT ON COLUMN app_pauses.app_id IS 'The customer''s own app; empty: the installation''s, from the platforms file.';
