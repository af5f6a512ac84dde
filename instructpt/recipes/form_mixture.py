"""What a model is trained on where passages were written about in forms: shares of the tokens.

--forms "pairs=2,facts=1,paraphrase=1"      raw 70 %, pairs 15 %, other forms 15 %
--mixture "raw=3,pairs=1,written=2"         raw 50 %, pairs 17 %, other forms 33 %
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from instructpt.errors import RecipeError
from instructpt.records import Kind
from instructpt.synthesis.mix import parse_mix

PARTS: Mapping[str, Kind] = MappingProxyType({"raw": "raw", "pairs": "augmented", "written": "written"})
"""Part of the mixture -> the kind of its texts."""
SYNTHETIC_SHARE = 0.3
SOURCE = "about 30 % synthetic text was best in more than 1,000 runs (arXiv 2510.01631)"


def token_shares(forms: str, mixture: str) -> dict[str, float]:
    """Part -> its share of the tokens. mixture: as a user gives it, "raw=7,pairs=2,written=1"; "" for the default.

    Raises RecipeError without forms, for an unknown part, and for one that the forms do not write.
    """
    from instructpt.synthesis.forms import parse_forms

    if not forms:
        raise RecipeError('arm forms needs --forms, such as --forms "pairs=2,facts=1,paraphrase=1" (docs/forms.md)')
    asked = dict.fromkeys(("pairs", "written"), 0)
    for one in parse_forms(forms):
        asked["pairs" if one.form.layout == "pairs" else "written"] += one.number
    total = sum(asked.values())
    written = {name: SYNTHETIC_SHARE * number / total for name, number in asked.items() if number}
    if not mixture:
        return {"raw": 1 - SYNTHETIC_SHARE, **written}
    given = dict(parse_mix(mixture, known=PARTS).shares)
    if nothing := [name for name in given if name != "raw" and name not in written]:
        raise RecipeError(f"the mixture {mixture!r} has {nothing[0]}, which --forms {forms!r} does not write")
    return given


def chosen_shares(forms: str, mixture: str) -> tuple[tuple[str, str, str], ...]:
    """For the plan: the shares, if nobody gave them, and why they are so."""
    if mixture:
        return ()
    shown = ", ".join(f"{name} {share:.0%}" for name, share in token_shares(forms, mixture).items())
    return (("mixture", shown, f"{SOURCE}; pairs and other forms as --forms numbers them"),)
