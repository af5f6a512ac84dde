"""What a model is trained on where passages were written about in forms: shares of the tokens.

--forms "pairs=2,facts=1,paraphrase=1"      raw 70 %, pairs 15 %, other forms 15 %
--mixture "raw=3,pairs=1,written=2"         raw 50 %, pairs 17 %, other forms 33 %
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from instructpt.errors import RecipeError
from instructpt.records import Kind
from instructpt.synthesis.mix import parse_mix

PARTS: Mapping[str, Kind] = MappingProxyType({"raw": "raw", "pairs": "augmented", "written": "written"})
"""Part of the mixture -> the kind of its texts."""
SYNTHETIC_SHARE = 0.3
SOURCE = "about 30 % synthetic text was best in more than 1,000 runs (arXiv 2510.01631)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormMixture:
    """What is written, and how much of it a model is trained on."""

    forms: str = ""
    variants: int = 1
    shares: str = ""
    """As a user gives them, "raw=7,pairs=2,written=1"; "" for the default."""

    def parts(self) -> dict[str, float]:
        """Part -> its share of the tokens. Raises RecipeError without forms, for an unknown part, and for one that the
        forms do not write."""
        from instructpt.synthesis.forms import parse_forms

        if not self.forms:
            raise RecipeError('arm forms needs --forms, such as --forms "pairs=2,facts=1,paraphrase=1" (docs/forms.md)')
        asked = dict.fromkeys(("pairs", "written"), 0)
        for one in parse_forms(self.forms):
            asked["pairs" if one.form.layout == "pairs" else "written"] += one.number
        total = sum(asked.values())
        written = {name: SYNTHETIC_SHARE * number / total for name, number in asked.items() if number}
        if not self.shares:
            return {"raw": 1 - SYNTHETIC_SHARE, **written}
        given = dict(parse_mix(self.shares, known=PARTS).shares)
        if nothing := [name for name in given if name != "raw" and name not in written]:
            raise RecipeError(
                f"the mixture {self.shares!r} has {nothing[0]}, which --forms {self.forms!r} does not write"
            )
        return given

    def choices(self) -> tuple[tuple[str, str, str], ...]:
        """For the plan: the shares, if nobody gave them, and why they are so."""
        if self.shares:
            return ()
        shown = ", ".join(f"{name} {share:.0%}" for name, share in self.parts().items())
        return (("mixture", shown, f"{SOURCE}; pairs and other forms as --forms numbers them"),)
