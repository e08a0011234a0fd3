"""Forgetting what nobody needs any more: by whose rules, in which portions, and when."""
