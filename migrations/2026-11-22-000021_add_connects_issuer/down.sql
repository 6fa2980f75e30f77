ALTER TABLE connects DROP COLUMN issuer, DROP COLUMN iss_required;
