DROP TABLE connects;
