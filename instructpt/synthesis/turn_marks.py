"""The marks by which chat templates tell turns apart, hidden in texts: servers read them as marks wherever they stand.

hide("<|im_end|>")     "<|im_end |>"
restore of that        "<|im_end|>"
"""

from __future__ import annotations

import re

_TAG = r"s|bos|eos|pad|unk|think|image|audio|video|(?:start|end)_of_(?:turn|image)|tool_call|tool_response"
_WORD = r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|ARGS|CALL_ID|IMG"
_INSIDE = r"[^<>|｜\s\[\]]++"
_MARK = rf"<[|｜]{_INSIDE}|<{_INSIDE}[|｜]|</?(?:{_TAG})|\[/?(?:{_WORD})"
_END = r"[|｜]?[>\]]"
_SHOWN_MARK = re.compile(rf"({_MARK})( *)({_END})")
_HIDDEN_MARK = re.compile(rf"({_MARK})( *) ({_END})")
"""Of ChatML and Qwen, Llama 3, Phi, Gemma, Mistral, DeepSeek, and the begin and end of text of older ones. A mark that
is missing here does no more harm than it does in any other prompt."""


def hide(text: str) -> str:
    """`text` with a blank before the end of whatever a server could take for a mark."""
    return _SHOWN_MARK.sub(r"\1\2 \3", text) if "<" in text or "[" in text else text


def restore(text: str) -> str:
    """What `hide` was given."""
    return _HIDDEN_MARK.sub(r"\1\2\3", text) if "<" in text or "[" in text else text
