ALTER TABLE grants ADD COLUMN reauth_at timestamptz, ADD COLUMN reauth_notice_at timestamptz;
CREATE INDEX grants_reauth_idx ON grants (reauth_notice_at) WHERE status = 'active' AND reauth_notice_at IS NOT NULL;
COMMENT ON COLUMN grants.reauth_at IS 'By when the person must consent again, where no refresh moves that end.';
COMMENT ON COLUMN grants.reauth_notice_at IS 'When applications are told of it next.';
COMMENT ON COLUMN grants.renewable IS 'Whether the sealed tokens hold what a refresh presents: a refresh token, or an access token that extends itself.';
