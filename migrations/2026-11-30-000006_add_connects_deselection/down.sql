ALTER TABLE connects DROP COLUMN deselection;
