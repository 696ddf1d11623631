"""What outlives the process: registrations and nonces of a Map-Server, in one SQLite file."""
