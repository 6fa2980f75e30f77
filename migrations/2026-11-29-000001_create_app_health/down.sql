DROP TABLE app_health;
