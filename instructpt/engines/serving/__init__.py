"""Serving: vLLM, started from here in an environment of its own. The HTTP engine asks any other server just as well."""
