"""Serving: what stands on the other side of an engine that speaks HTTP.

    engines.http.HttpEngine  --POST /v1/completions-->  a server  --> the model
                             <-----text, counts--------

Any OpenAI-compatible server will do, started by whoever runs the machines. vLLM is started from here, from an
environment of its own: `vllm.py`.
"""
