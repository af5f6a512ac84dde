"""Files that are read, wherever they lie: found by path or URL, opened, told apart by their content."""

from __future__ import annotations

from instructpt.files.finding import File, base_name, content_digest, find

__all__ = ["File", "base_name", "content_digest", "find"]
