-- Partitions belong to the owner of the schema. A role that may only read and write rows makes and drops them by these.

CREATE FUNCTION make_partition(parent text, day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    name     text := parent || '_' || to_char(day, 'YYYYMMDD');
    begins   timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends     timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
    is_taken boolean;
BEGIN
    IF parent NOT IN ('events', 'account_history', 'outbox') THEN
        RAISE EXCEPTION '% is not partitioned by day', parent;
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One process after the other: IF NOT EXISTS alone does not keep two from colliding.
    PERFORM pg_advisory_xact_lock(hashtext('partitions'));
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE created_at >= $1 AND created_at < $2)', parent || '_default')
        INTO is_taken USING begins, ends;
    IF is_taken OR to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent, begins, ends);
    RETURN true;
END $$;
COMMENT ON FUNCTION make_partition IS 'Makes the partition of a day, unless it is there, or rows of that day went to the default partition.';

CREATE FUNCTION drop_partition(parent text, day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    name      text := parent || '_' || to_char(day, 'YYYYMMDD');
    is_needed boolean := false;
BEGIN
    IF parent NOT IN ('events', 'account_history', 'outbox') THEN
        RAISE EXCEPTION '% is not partitioned by day', parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('partitions'));
    IF to_regclass(name) IS NULL THEN
        RETURN true;
    END IF;
    IF parent = 'outbox' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE done_at IS NULL)', name) INTO is_needed;
    END IF;
    IF NOT is_needed THEN
        EXECUTE format('DROP TABLE %I', name);
    END IF;
    RETURN NOT is_needed;
END $$;
COMMENT ON FUNCTION drop_partition IS 'Drops the partition of a day, unless a message of it is still to be sent.';

-- With the owner's rights nothing may be found but what is the owner's.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION make_partition(text, date) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION drop_partition(text, date) SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION make_partition, drop_partition FROM PUBLIC;
