-- Two roles for Latchkey in the database `latchkey`, neither of them a superuser. Run by a superuser, with psql, which takes
-- the passwords from its environment. Repeating it changes nothing but passwords.
--
--   latchkey       owns the schema: for `latchkey-api migrate --grant-to latchkey_rows`
--   latchkey_rows  reads and writes rows: for `latchkey-api serve` and for workers

\set ON_ERROR_STOP on
\getenv owner_password LATCHKEY_POSTGRES_PASSWORD
\getenv rows_password LATCHKEY_POSTGRES_ROWS_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES ('latchkey'), ('latchkey_rows')) AS roles (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- The superuser comes in over the server's own socket alone. In data of earlier versions that is `latchkey` itself.
ALTER ROLE CURRENT_USER PASSWORD NULL;
ALTER ROLE latchkey PASSWORD :'owner_password';
ALTER ROLE latchkey_rows PASSWORD :'rows_password';
ALTER DATABASE latchkey OWNER TO latchkey;
REVOKE ALL ON DATABASE latchkey FROM PUBLIC;
GRANT CONNECT ON DATABASE latchkey TO latchkey_rows;

-- The limits that each of our sessions begins with. Where a pooler such as PgBouncer leaves those out, these hold.
ALTER ROLE latchkey_rows SET statement_timeout = '8s';
ALTER ROLE latchkey_rows SET lock_timeout = '5s';
ALTER ROLE latchkey_rows SET idle_in_transaction_session_timeout = '10s';
