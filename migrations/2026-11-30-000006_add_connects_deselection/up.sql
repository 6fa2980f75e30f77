ALTER TABLE connects ADD COLUMN deselection text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN connects.deselection IS 'The candidates that were connected, and that the person unticked: disconnected with the end of the connect.';
