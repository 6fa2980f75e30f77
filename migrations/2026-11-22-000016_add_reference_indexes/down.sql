DROP INDEX grants_app_id_idx;
DROP INDEX connects_app_id_idx;
DROP INDEX connects_profile_id_idx;
DROP INDEX accounts_app_id_idx;
DROP INDEX accounts_profile_id_idx;
DROP INDEX profiles_workspace_id_idx;
