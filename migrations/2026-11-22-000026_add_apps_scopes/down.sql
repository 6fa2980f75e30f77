DROP INDEX apps_client_idx;
ALTER TABLE apps DROP COLUMN scopes;
