"""Serving: what stands on the other side of an engine that speaks HTTP.

    engines.http.HttpEngine  --POST /v1/completions-->  a server  --> the model
                             <-----text, counts--------

Any OpenAI-compatible server will do, started by whoever runs the machines. Two are started from here:

    scripted.py   answers made by rule, no weights: dry runs of a cluster, tests, benchmarks of all but the model
    vllm.py       a real one, from an environment of its own

`canned.py`, `answers.py`, `prefixes.py` and `wire.py` are the inside of the scripted server: what it does with a
request, what it says, the prefix cache that it pretends to have, its HTTP.
"""
