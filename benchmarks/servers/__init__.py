"""The servers under test: each a program of its own, led by lines of JSON (see `servers.lines`)."""
