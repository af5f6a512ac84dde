"""How pairs stand in the reply of an instruct model: the part of the dialect `chat` that hangs on the model's size.

    json    {"pairs": [{"question": "...", "answer": "..."}, ...]}      json_replies.py
    lines   Q: ...                                                      line_replies.py
            A: ...

`read(write(pairs))` gives `pairs` back, but for blanks around texts, where `refuse` allows them.

Models below some 3 billion parameters do not get JSON right: asked for it, SmolLM2-135M gave 17 pairs for 46 passages,
cut off or repeated, and 59 for 48 in plain lines.

Marks by which chat templates tell turns apart are hidden in texts, since servers read them wherever they stand:

hide("<|im_end|>")     "<|im_end |>"
restore of that        "<|im_end|>"
"""

from __future__ import annotations

import re

MAX_PAIRS = 8
"""A passage, where the model chooses. Replies of some 60 tokens a pair; the shipped synthesizer writes 5."""
MAX_OPTIONS = 8
"""A form's bound; replies that come without one may hold more."""


def refuse_category(category: str) -> str | None:
    """Why a category cannot be written; None if it can."""
    category = category.strip()
    if not category:
        return "empty_category"
    return "broken_category" if len(category.splitlines()) > 1 else None


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
