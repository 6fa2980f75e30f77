-- The clock: every statement that needs the time says moment($offset). The offset is zero, and moved by tests.
CREATE FUNCTION moment("offset" interval) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN now() + "offset";

CREATE TABLE organisations (
    id         text COLLATE "C" CONSTRAINT organisations_pkey PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE organisations IS 'The tenant: who runs applications against this installation.';
