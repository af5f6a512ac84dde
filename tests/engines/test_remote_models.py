"""Models that only a server has: known by name."""

from __future__ import annotations

import pytest

from instructpt import models
from instructpt.errors import InputError


def test_remote_models_go_by_the_servers_name() -> None:
    assert models.is_remote("remote:Qwen/Qwen3-8B")
    assert models.remote_name("remote:Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert not models.is_remote("shipped:synthesizer")
    with pytest.raises(InputError, match="names no model"):
        models.remote_name("remote:")
