"""The REST API for operators, under /api/v1."""
