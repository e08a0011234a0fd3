"""What is stored: looked at, compared and brought back by an operator. Knows nothing of HTTP."""
