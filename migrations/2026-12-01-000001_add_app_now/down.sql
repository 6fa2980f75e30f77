DROP FUNCTION app_clock();
DROP FUNCTION app_now(interval);
DROP FUNCTION app_now();
