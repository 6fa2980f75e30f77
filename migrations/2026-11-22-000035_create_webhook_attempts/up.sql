CREATE TABLE webhook_attempts (
    delivery_id     text COLLATE "C" NOT NULL CONSTRAINT webhook_attempts_delivery_id_fkey REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    number          integer NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    begun_at        timestamptz NOT NULL,
    duration_ms     integer,
    http_status     integer,
    error           text,
    answer          text,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number)
) WITH (fillfactor = 80);
COMMENT ON TABLE webhook_attempts IS 'Each attempt to deliver; written before anything is sent.';
COMMENT ON COLUMN webhook_attempts.duration_ms IS 'Null while the attempt is under way, and for one whose worker was gone.';
COMMENT ON COLUMN webhook_attempts.answer IS 'The beginning of what the receiver said.';
