DROP INDEX grants_reauth_idx;
ALTER TABLE grants DROP COLUMN reauth_at, DROP COLUMN reauth_notice_at;
COMMENT ON COLUMN grants.renewable IS 'Whether the sealed tokens hold a refresh token.';
