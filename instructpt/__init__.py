"""instructpt: raw text in, instruction-augmented corpus and trained language models out (Instruction Pre-Training)."""

__version__ = "0.1.0"
