"""What our stack costs, beside what people assemble today: in one process, in one run, in turns.

`python -m tests.benchmarks --help` tells how to run it. Nothing here is a test, and nothing uses
the network: each app is called as a server calls it.
"""
