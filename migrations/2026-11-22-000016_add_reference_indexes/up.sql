-- Who names a profile or an app: asked before one is deleted, and by the lists that are filtered by profile.
CREATE INDEX profiles_workspace_id_idx ON profiles (workspace_id, id);
CREATE INDEX accounts_profile_id_idx ON accounts (profile_id, id) WHERE profile_id IS NOT NULL;
CREATE INDEX accounts_app_id_idx ON accounts (app_id) WHERE app_id IS NOT NULL;
CREATE INDEX connects_profile_id_idx ON connects (profile_id) WHERE profile_id IS NOT NULL;
CREATE INDEX connects_app_id_idx ON connects (app_id) WHERE app_id IS NOT NULL;
CREATE INDEX grants_app_id_idx ON grants (app_id) WHERE app_id IS NOT NULL;
