//! Much of everything, written by SQL alone. The tokens open nowhere: nothing of it is due.

use super::TestApp;

/// Every table that grows. `$n` is how much there shall be, `$org`, `$ws` and `$whe` what the owner has: a fifth of it is theirs.
const TABLES: [&str; 15] = [
    "INSERT INTO organisations (id, name, created_at)
     SELECT 'org_01' || lpad(i::text, 24, '0'), 'o', now() - interval '90 days' FROM generate_series(1, 100) i",
    "INSERT INTO workspaces (id, organisation_id, name, created_at)
     SELECT 'ws_01' || lpad(i::text, 24, '0'), 'org_01' || lpad((i % 100 + 1)::text, 24, '0'), 'w', now() - interval '90 days'
     FROM generate_series(1, 200) i",
    // Of ten, seven live, two were revoked and one expired.
    "INSERT INTO grants (id, workspace_id, platform, status, generation, sealed_tokens, renewable, scopes, holder_hash,
         issued_at, access_expires_at, refresh_at, next_attempt_at, revocation_sent_at, released_at, created_at)
     SELECT 'grt_01' || lpad(i::text, 24, '0'), ws, 'SANDBOX', status, 1, CASE WHEN status <> 'revoked' THEN '\\x00'::bytea END,
         true, '{profile}', decode(md5(i::text) || md5('h' || i), 'hex'), now(),
         now() + interval '60 days', now() + interval '30 days',
         CASE WHEN status = 'active' THEN now() + interval '30 days' END,
         CASE WHEN status = 'revoked' THEN now() - interval '1 day' END,
         CASE WHEN status = 'revoked' THEN now() - interval '1 day' END, now() - interval '90 days'
     FROM (SELECT i, CASE i % 5 WHEN 0 THEN '$ws' ELSE 'ws_01' || lpad((i % 200 + 1)::text, 24, '0') END AS ws,
               CASE WHEN i % 10 < 7 THEN 'active' WHEN i % 10 < 9 THEN 'revoked' ELSE 'expired' END AS status
           FROM generate_series(1, $n) i) AS one",
    "INSERT INTO accounts (id, workspace_id, platform, platform_user_id, grant_id, username, status, connected_at, created_at)
     SELECT 'acc_01' || lpad(i::text, 24, '0'), workspace_id, 'SANDBOX', 'u' || i,
         CASE WHEN g.status <> 'revoked' THEN g.id END, 'user-' || i,
         CASE g.status WHEN 'active' THEN 'connected' WHEN 'expired' THEN 'token_expired' ELSE 'disconnected' END,
         g.created_at, g.created_at
     FROM generate_series(1, $n) i JOIN grants g ON g.id = 'grt_01' || lpad(i::text, 24, '0')",
    "INSERT INTO connects (id, workspace_id, platform, status, timeline, redirect_uri, scopes, state_hash, status_at, expires_at,
         created_at)
     SELECT 'con_01' || lpad(i::text, 24, '0'), CASE i % 5 WHEN 0 THEN '$ws' ELSE 'ws_01' || lpad((i % 200 + 1)::text, 24, '0') END,
         'SANDBOX', CASE i % 3 WHEN 0 THEN 'connected' WHEN 1 THEN 'expired' ELSE 'failed' END, '[]', 'https://a.example', '{}',
         decode(md5(i::text) || md5('s' || i), 'hex'), at, at + interval '10 min', at
     FROM (SELECT i, now() - interval '89 days' * i / $n AS at FROM generate_series(1, $n) i) AS one",
    "SELECT make_partition(parent, day::date) FROM unnest(ARRAY['events', 'account_history', 'outbox']) AS parent,
         generate_series(current_date - 90, current_date, '1 day') AS day WHERE parent <> 'outbox' OR day >= current_date - 7",
    "INSERT INTO events (id, organisation_id, workspace_id, type, account_id, sequence, data, xid, created_at)
     SELECT 'evt_01' || lpad(i::text, 24, '0'), '$org', '$ws', 'account.connected', 'acc_01' || lpad((i % $n + 1)::text, 24, '0'), i,
         '{}', 3 + i * 500::bigint / (5 * $n), now() - interval '89 days' * (5 * $n - i) / (5 * $n) FROM generate_series(1, 5 * $n) i",
    "INSERT INTO account_history (workspace_id, account_id, type, data, created_at)
     SELECT '$ws', 'acc_01' || lpad((i % $n + 1)::text, 24, '0'), 'account.connected', '{}', now() - interval '89 days' * i / (2 * $n)
     FROM generate_series(1, 2 * $n) i",
    "INSERT INTO outbox (id, kind, routing_key, body, available_at, done_at, ending, created_at, organisation_id)
     SELECT 'msg_01' || lpad(i::text, 24, '0'), 'event', 'k', '{}', at, at, 'published', at, '$org'
     FROM (SELECT i, now() - interval '6 days' * i / (5 * $n) AS at FROM generate_series(1, 5 * $n) i) AS one",
    // Of the newest events.
    "INSERT INTO webhook_deliveries (id, organisation_id, endpoint_id, event_id, event_at, status, attempts, ended_at, created_at)
     SELECT 'dlv' || substr(id, 4), '$org', '$whe', id, created_at, 'delivered', 1, at, at
     FROM (SELECT id, created_at, now() - interval '6 days' * (5 * $n - substr(id, 5)::numeric % 1e12) / $n AS at
           FROM events WHERE id > 'evt_01' || lpad((4 * $n)::text, 24, '0')) AS one",
    "INSERT INTO requests (producer, message_id, kind, fingerprint, refusal, created_at)
     SELECT 'p', 'm' || i, 'connect.requested', '\\x00', '{}', now() - interval '6 days' * i / $n FROM generate_series(1, $n) i",
    "INSERT INTO dead_letters (id, routing_key, headers, body, reason, died_at)
     SELECT 'dl_01' || lpad(i::text, 24, '0'), 'k', '{}', '', 'rejected', now() FROM generate_series(1, $n / 10) i",
    "INSERT INTO sessions (hash, organisation_id, api_key_id, expires_at, created_at)
     SELECT decode(md5(i::text) || md5('c' || i), 'hex'), '$org', id, now() + interval '30 days', now()
     FROM generate_series(1, $n / 10) i, (SELECT id FROM api_keys LIMIT 1) AS key",
    "INSERT INTO profiles (id, workspace_id, name, created_at)
     SELECT 'prof_01' || lpad(i::text, 24, '0'), '$ws', 'p', now() FROM generate_series(1, $n / 10) i",
    "INSERT INTO idempotency_keys (organisation_id, api_key_id, key_hash, fingerprint, turn, lease_until, created_at)
     SELECT '$org', id, decode(md5(i::text) || md5('k' || i), 'hex'), '\\x00', 1, now(), now() - interval '2 hours' * i / $n
     FROM generate_series(1, $n) i, (SELECT id FROM api_keys LIMIT 1) AS key",
];

/// Fills them: with so many grants, accounts, connects, deliveries, and as much of the rest as belongs to them.
///
/// # Errors
/// When a statement fails.
pub async fn fill(app: &TestApp, rows: usize) -> anyhow::Result<()> {
    let endpoint = app.row("SELECT id FROM webhook_endpoints").await?;
    let values = [
        ("$org", app.owner.organisation_id.as_str()),
        ("$ws", app.owner.workspace_id.as_str()),
        ("$whe", endpoint["id"].as_str().unwrap_or_default()),
        ("$n", &rows.to_string()),
    ];
    for table in TABLES {
        let statement =
            values.iter().fold(table.to_owned(), |text, (name, value)| text.replace(name, value));
        app.execute(&format!("SET statement_timeout = 0; {statement}")).await?;
    }
    Ok(())
}
