"""Benchmarks: how long implementations need for the same work in the same run.

Absolute times on a shared machine mean nothing. So each round measures every implementation once, in random order, and the result is the
median over the rounds of the ratio to another implementation. The upstreams are as fast as a few lines of Python can be (`upstreams`); a
client without any proxy shows the limit that they set.

`workloads` lists what to measure and `measure` runs it. `figures` holds the values, `tables` and `chart` show them, and `guard` compares
them with an earlier run.
"""
