ALTER TABLE connects ADD COLUMN issuer text, ADD COLUMN iss_required boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN connects.issuer IS 'Who was asked, if the platform has an issuer: the browser must not come back from another.';
COMMENT ON COLUMN connects.iss_required IS 'Whether the browser must say whom it comes back from (RFC 9207).';
