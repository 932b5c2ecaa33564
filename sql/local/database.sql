-- The database of every local server, made in single-user mode: one statement a line.
CREATE DATABASE shardbank;
