"""What the bridge costs, measured beside the least that the machine can do it for.

Every figure that can be is a ratio of two measurements taken in turns in one run, over the same
sockets: absolute times move with the machine and its other load, ratios hold.

    __main__    chooses cases, prints the table, writes results/<case>.json
    cases/      one module per case: what is measured, against what, and the bar
    servers/    one module per server under test, each run in a process of its own
    load        the load generator, in a process of its own
    children    starts those processes, talks to them in lines of JSON, and ends them

A further case is a module with a `run` in `cases/` and a line in its table. A further server is a
program, in whatever language, that speaks the lines of `servers.lines`.
"""
