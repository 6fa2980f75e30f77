ALTER TABLE accounts DROP COLUMN check_refused_since, DROP COLUMN check_refused_as, DROP COLUMN action_needed_since;
