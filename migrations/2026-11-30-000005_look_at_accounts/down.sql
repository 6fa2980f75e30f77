UPDATE accounts SET next_check_at = NULL WHERE sealed_token IS NULL AND next_check_at IS NOT NULL;
COMMENT ON COLUMN accounts.next_check_at IS 'When the platform is asked next whether that token still works; moved ahead by each dispatch.';
