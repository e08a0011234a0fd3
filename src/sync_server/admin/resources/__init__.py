"""One module per resource of the API; each lists its routes in ROUTES."""
