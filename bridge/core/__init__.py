"""Pure core: no I/O, no await, no clock, no logging. Data in, data out."""
