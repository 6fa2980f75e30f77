ALTER TABLE apps ADD COLUMN door text NOT NULL DEFAULT 'native'
    CONSTRAINT apps_door_check CHECK (door IN ('native', 'postpeer'));
COMMENT ON COLUMN apps.door IS 'Through whose API it was made: that says which redirect URI its owner was told to register.';
