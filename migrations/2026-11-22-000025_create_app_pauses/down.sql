DROP TABLE app_pauses;
