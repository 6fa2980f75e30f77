ALTER TABLE connects DROP COLUMN tries, DROP COLUMN code_hash;
