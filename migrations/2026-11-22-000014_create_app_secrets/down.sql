ALTER TABLE apps ADD COLUMN sealed_secret bytea NOT NULL DEFAULT '';
ALTER TABLE apps ALTER COLUMN sealed_secret DROP DEFAULT;
DROP TABLE app_secrets;
