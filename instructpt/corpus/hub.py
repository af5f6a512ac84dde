"""Data sets of the Hugging Face Hub, through the `datasets` package: hf://owner/name:split, hf://owner/name/config:split.

The data set is downloaded as a whole into that package's cache and read from there; a folder on disk goes the same way
(hf:///home/me/set:train, hf://./set:train). Single files need no `datasets` and are streamed: the paths under
hf://datasets/owner/name/ are those of any other file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson

from instructpt.corpus.parts import Part, Row, balanced
from instructpt.corpus.tables import rows_of
from instructpt.errors import InputError, require
from instructpt.files import File
from instructpt.records import Reject

if TYPE_CHECKING:
    from datasets import Dataset

_SCHEME = "hf://"
_FILE_ROOTS = ("datasets", "spaces", "buckets")
_BATCH_ROWS = 256
_DIGEST_ROWS = 1000


def is_dataset(url: str) -> bool:
    """Whether `url` names a data set, and not a file on the Hub."""
    return url.startswith(_SCHEME) and url.removeprefix(_SCHEME).split("/")[0] not in _FILE_ROOTS


def cut(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002
    """Ranges of rows of about `shard_bytes` each. Raises InputError for an unknown data set, config or split."""
    dataset = _load(file.url)
    num_bytes = dataset.data.nbytes
    num_parts = len(balanced(num_bytes, largest=shard_bytes))
    ranges = balanced(len(dataset), largest=max(1, -(-len(dataset) // num_parts)))
    share = num_bytes // len(ranges)
    return [
        Part(file.url, format, start, None if stop == len(dataset) else stop, share, name(file.url))
        for start, stop in ranges
    ]


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The rows of a part, named by the data set and their number."""
    dataset = _load(part.url).with_format("arrow")
    stop = len(dataset) if part.stop is None else part.stop
    for first in range(part.start, stop, _BATCH_ROWS):
        table = dataset[first : min(stop, first + _BATCH_ROWS)]
        yield from rows_of(table, name=part.name, first_row=first, text_field=text_field)


def content_digest(file: File) -> str:
    """What tells a data set from a changed one: columns, number of rows, and some 1,000 rows spread evenly."""
    dataset = _load(file.url).with_format("arrow")
    state = hashlib.blake2b(f"{dataset.column_names}\n{len(dataset)}".encode(), digest_size=16)
    for start in range(0, len(dataset), max(1, len(dataset) // _DIGEST_ROWS)):
        for row in rows_of(dataset[start : start + 1], name="", first_row=start):
            state.update(orjson.dumps(row.fields if isinstance(row, Row) else row.text) + b"\n")
    return state.hexdigest()


def name(url: str) -> str:
    """What the rows of a data set are called by: "name:split"."""
    return url.removeprefix(_SCHEME).rpartition("/")[2]


def _load(url: str) -> Dataset:
    datasets = require("datasets", of=url, extra="hub")
    above, slash, last = url.removeprefix(_SCHEME).rpartition("/")
    last, _, split = last.partition(":")  # the first: a split may be a slice such as train[:10%]
    name = above + slash + last
    if not split or not last:
        raise InputError(f"{url} names no split: write hf://owner/name:train or hf://owner/name/config:train")
    config: str | None = None
    if name[0] not in "/." and name.count("/") == 2:
        name, _, config = name.rpartition("/")
    try:
        dataset: Dataset = datasets.load_dataset(name, config, split=split)
    except (ValueError, OSError) as error:  # unknown config or split; unknown name, no connection
        reason = " ".join(str(error).split())
        raise InputError(f"cannot load {url} ({reason}): check name, config and split, or the connection") from error
    return dataset
