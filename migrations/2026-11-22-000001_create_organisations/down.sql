DROP TABLE organisations;
DROP FUNCTION moment(interval);
