"""Networks of the course, one module for each task; import them from their module."""
