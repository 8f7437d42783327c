"""The socket edge, end to end: a real server on a free port, and clients that nobody here wrote."""
