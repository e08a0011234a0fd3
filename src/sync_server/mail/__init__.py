"""Mails to users: a queue in each realm's database, letters in the user's language, SMTP or an outbox directory."""
