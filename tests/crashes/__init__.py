"""What a crash of PostgreSQL takes with it, and what it leaves."""
