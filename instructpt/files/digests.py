"""What tells a file from a changed one."""

from __future__ import annotations

import hashlib

from instructpt.files.finding import File
from instructpt.files.streams import opened_raw, serves_ranges

_MIB = 1 << 20
_WHOLE_BYTES = 64 * _MIB
_END_BYTES = _MIB
_NUM_BLOCKS = 64
_BLOCK_BYTES = 64 << 10


def content_digest(file: File) -> str:
    """What tells a file from a changed one: 32 hex digits of its size and content, blake2b.

    Of a file over 64 MiB: the first and last MiB and 64 blocks of 64 KiB spread evenly between them; all of it where a
    web server sends whole files alone.
    """
    state = hashlib.blake2b(file.num_bytes.to_bytes(8, "little"), digest_size=16)
    with opened_raw(file.url) as stream:
        if file.num_bytes <= _WHOLE_BYTES or not serves_ranges(file.url):
            while chunk := stream.read(_MIB):
                state.update(chunk)
            return state.hexdigest()
        middle = file.num_bytes - 2 * _END_BYTES - _BLOCK_BYTES
        state.update(stream.read(_END_BYTES))
        for i in range(_NUM_BLOCKS):
            stream.seek(_END_BYTES + middle * i // (_NUM_BLOCKS - 1))
            state.update(stream.read(_BLOCK_BYTES))
        stream.seek(file.num_bytes - _END_BYTES)
        state.update(stream.read(_END_BYTES))
    return state.hexdigest()
