DROP TABLE keyring_canaries;
DROP TABLE data_keys;
