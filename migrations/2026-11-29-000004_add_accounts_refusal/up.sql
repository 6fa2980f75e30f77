ALTER TABLE accounts
    ADD COLUMN check_refused_since timestamptz,
    ADD COLUMN check_refused_as text,
    ADD COLUMN action_needed_since timestamptz;
COMMENT ON COLUMN accounts.check_refused_since IS 'Since when the platform says, in the words of check_refused_as, that the account''s own token does not work.';
COMMENT ON COLUMN accounts.action_needed_since IS 'Since when the platform wants the person to act there; the application was told.';
