DROP INDEX accounts_check_idx;
ALTER TABLE accounts DROP COLUMN sealed_token, DROP COLUMN next_check_at, DROP COLUMN check_failures;
