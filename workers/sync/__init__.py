"""`python -m workers sync`: what keeps the copies in step with the change feed."""
