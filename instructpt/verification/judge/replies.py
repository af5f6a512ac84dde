"""Many prompts to a judge, each asked once: the HTTP engine asks, a ledger keeps what was said.

    prompt --> in the ledger? --no--> engines.http (several endpoints, retries, 429) --> ledger --> reply | Reject

A run that was killed asks only for the rest. Requests that failed are not in the ledger and are asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructpt.engines import Conversation, Message, Sampling
from instructpt.engines.addresses import is_loopback, read_addresses
from instructpt.engines.event_loop import run_or_cancel
from instructpt.engines.http import HttpEngine
from instructpt.errors import EngineError, EngineGoneError, RecipeError
from instructpt.records import Reject
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.asking import refusal, together
from instructpt.synthesis.ledger import Ledger

KEY_VARIABLE = "INSTRUCTPT_JUDGE_KEY"
MAX_REPLY_TOKENS = 1_024
"""Room for a model that thinks aloud before it answers."""
SAMPLING = Sampling(MAX_REPLY_TOKENS)
_USUAL: Mapping[str, Any] = {"timeout_seconds": 120.0, "retries": 5, "max_in_flight_per_endpoint": 8}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a judge answers. Its key comes from the environment alone and never crosses a network in the clear."""

    endpoints: str
    """Addresses, with commas between them: http://localhost:8000/v1."""
    model: str
    """What the servers call it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the HTTP engine, where they are to differ from the usual ones."""

    def __post_init__(self) -> None:
        """Raises RecipeError for an address that cannot be, or where the key would go unprotected."""
        if not self.model:
            raise RecipeError("the judge's model is not named: give the name that its server knows it by")
        for address in read_addresses(self.endpoints, key_variable=KEY_VARIABLE):
            if address.secrets and not address.name.startswith("https://") and not is_loopback(address.host):
                raise RecipeError(
                    f"the judge's key would go to {address.name} over plain http, where anybody on the way can read it:"
                    f" give an https address, or unset {KEY_VARIABLE}"
                )

    def open(self) -> HttpEngine:
        """An engine that asks it."""
        options = {**_USUAL, **self.options}
        return HttpEngine(
            self.model,
            endpoints=self.endpoints,
            served_model=self.model,
            structured="off",
            api_key_variable=KEY_VARIABLE,
            **options,
        )


def ask_all(
    prompts: Sequence[str], *, server: Server, replies: Path, on_progress: Callable[[int], None] | None = None
) -> list[str | Reject]:
    """The reply to each prompt, greedy, in order; a Reject `prompt_refused` or `engine_error` where there is none.

    Equal prompts are asked once. replies: the ledger's file. on_progress: called after each reply with the number of
    replies so far. Raises EngineError if no endpoint answers, whatever is asked.
    """
    with Ledger(replies) as ledger:
        found = run_or_cancel(_ask_all(set(prompts), server=server, ledger=ledger, on_progress=on_progress))
    failed = [reply for reply in found.values() if isinstance(reply, Reject)]
    if failed and len(failed) == len(found):
        raise EngineError(
            f"the judge answered none of {len(failed)} requests: see that it works, then run again"
            f" (the last: {failed[-1].text})"
        )
    return [found[prompt] for prompt in prompts]


async def _ask_all(
    prompts: set[str], *, server: Server, ledger: Ledger, on_progress: Callable[[int], None] | None
) -> dict[str, str | Reject]:
    found: dict[str, str | Reject] = {}
    engine = server.open()

    async def ask(prompt: str) -> None:
        question = Conversation((Message("user", prompt),))
        key = ledgers.key(question, model_identity=f"remote:{server.model}", sampling=SAMPLING)
        completion = ledger.get(key)
        try:
            if completion is None:
                completion = await engine.complete(question, SAMPLING)
                await ledger.put(key, completion)
            found[prompt] = completion.text
        except EngineGoneError:
            raise
        except EngineError as error:
            found[prompt] = refusal(error)
        if on_progress is not None:
            on_progress(len(found))

    try:
        await together(map(ask, sorted(prompts)))
    finally:
        await engine.close()
    return found
