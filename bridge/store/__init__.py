"""The PostgreSQL edge: who is active, who may join what, and the inbox.

The operator's own tables are reached by the queries of the settings, and only read. What the bridge
keeps stands in a schema of its own. Everything is asked for with a deadline; when there is no answer,
`UnavailableError` is raised, and never a yes.
"""
