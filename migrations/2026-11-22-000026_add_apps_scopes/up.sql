ALTER TABLE apps ADD COLUMN scopes text[];
CREATE INDEX apps_client_idx ON apps (organisation_id, client_id);
COMMENT ON COLUMN apps.scopes IS 'What connects through the app ask for unless they say otherwise; null: the platform''s. Where the set belongs to the client it is always said.';
