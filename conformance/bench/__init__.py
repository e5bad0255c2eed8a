"""Side by side: how long implementations take for the same work, in the same run.

Absolute times of a shared machine say nothing, so each round measures every implementation once, in random order, and what counts is the
median over the rounds of the ratio to the one that is compared with. The upstreams are as fast as a few lines of Python can be
(`upstreams`), and a client without any proxy in between shows the limit that they set.

`workloads` is the list of what is measured, `measure` runs it, `figures` holds what came out, `tables` and `chart` show it, `guard`
compares it with an earlier run.
"""
