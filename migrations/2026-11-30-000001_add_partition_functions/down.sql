DROP FUNCTION make_partition;
DROP FUNCTION drop_partition;
