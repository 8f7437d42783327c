"""The PostgreSQL edge, against a real server."""
