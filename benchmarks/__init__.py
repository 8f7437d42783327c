"""What the bridge costs, measured beside the least that the machine can do it for.

Every figure that can be is a ratio of two measurements taken in turns in one run, over the same
sockets: absolute times move with the machine and its other load, ratios hold.

    __main__    chooses cases, prints the table, writes results/<case>.json and .svg
    cases/      one module per case: what is measured, against what, and the bar
    contest     several servers in turns, and the CPU of each
    servers/    one module per server of ours under test, each run in a process of its own
    peers/      what others would run in the bridge's place, and how clients greet it
    amqp/       the broker's side: publishers, and consumers to measure beside the bridge
    load        the load generator, in a process of its own; `counting` and `client` are its parts
    children    starts those processes, talks to them in lines of JSON, and ends them
    figures     what was measured, as data; `report` and `charts` show it

A further case is a module with a `run` in `cases/` and a line in its table. A further server is a
program, in whatever language, that speaks the lines of `servers.lines`. See docs/benchmarks.md.
"""
