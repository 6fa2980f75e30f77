ALTER TABLE connects
    ADD COLUMN tries integer NOT NULL DEFAULT 0,
    ADD COLUMN code_hash bytea;
COMMENT ON COLUMN connects.tries IS 'How many calls in a row brought no answer: of the exchange, and after it of what is asked with the new token.';
COMMENT ON COLUMN connects.code_hash IS 'A keyed hash of the code that the browser brought: the same callback is known again by it.';
