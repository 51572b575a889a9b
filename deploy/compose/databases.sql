-- Run once, when the database is made: the experiments live apart from the ledger.
CREATE DATABASE mlflow OWNER capshift;
