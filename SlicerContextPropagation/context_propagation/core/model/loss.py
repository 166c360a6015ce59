"""The losses that base models are trained with, and edits are measured by. Needs no torch."""

from typing import Literal

Loss = Literal["dice and cross-entropy", "dice"]
"""A base model's own loss: Eq. 7 for nnU-Net, Eq. 5 for PSNN."""
