-- Each account is looked at once a day: those that are there, for the first time within the day that comes.
UPDATE accounts SET next_check_at = now() + random() * interval '1 day'
WHERE status = 'connected' AND next_check_at IS NULL;
COMMENT ON COLUMN accounts.next_check_at IS 'When the platform is asked next whether the account still lives; moved ahead by each dispatch.';
