-- The clock: every statement that needs the time says app_now(). Only tests set latchkey.clock_offset, for their sessions.
-- moment() stays for processes of the release before.
CREATE FUNCTION app_now() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN now() + coalesce(nullif(current_setting('latchkey.clock_offset', true), ''), '0')::interval;

CREATE FUNCTION app_now("delta" interval) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN app_now() + "delta";

CREATE FUNCTION app_clock() RETURNS timestamptz
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN clock_timestamp() + (app_now() - now());
