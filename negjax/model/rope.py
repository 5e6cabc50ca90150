"""Rotary position embedding (arXiv 2104.09864) and the scalings that published models use, as data.

float32 is part of the definition: checkpoints are trained and published with frequencies and angles
rounded to it, so a float64 run keeps the rounded values.
"""

import dataclasses
import math

import numpy as np

from negjax.records import readable


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Wavelength-dependent slowing of RoPE, as Llama 3.1 defines it (arXiv 2407.21783, §3.4.3)."""

    factor: float
    """How much the longest wavelengths are stretched."""
    low_freq_factor: float
    """Wavelengths above `original_context / low_freq_factor` are stretched by `factor`."""
    high_freq_factor: float
    """Wavelengths below `original_context / high_freq_factor` stay as they are."""
    original_context: int
    """Context length of pre-training, in tokens."""

    def scaled(self, frequency: np.ndarray) -> np.ndarray:
        """Frequencies [n], slowed."""
        wavelength = 2 * math.pi / frequency
        longest_kept = self.original_context / self.high_freq_factor
        shortest_stretched = self.original_context / self.low_freq_factor
        # In between, the share of the unscaled frequency rises linearly in context / wavelength.
        share = (self.original_context / wavelength - self.low_freq_factor) / (
            self.high_freq_factor - self.low_freq_factor
        )
        between = (1 - share) * frequency / self.factor + share * frequency
        stretched = np.where(wavelength > shortest_stretched, frequency / self.factor, between)
        return np.where(wavelength < longest_kept, frequency, stretched)


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class YarnScaling:
    """Slowing of the pairs that turn seldom within the context, YaRN (arXiv 2309.00071, §3.2)."""

    factor: float
    """How much those are stretched."""
    original_context: int
    """Context length of pre-training, in tokens."""
    beta_fast: float = 32.0
    """Pairs that turn more often than this within the context stay as they are."""
    beta_slow: float = 1.0
    """Pairs that turn less often are stretched by `factor`; in between, a ramp."""
    truncate: bool = True
    """Whether the ramp's ends are rounded to whole pairs, outwards."""

    def scaled(self, progression: np.ndarray, theta: float) -> np.ndarray:
        """Frequencies [n], slowed, of a geometric progression [n] of base theta."""
        n = len(progression)

        def pair(turns: float) -> float:
            """The pair that turns so often within the context, as a number from 0 to n."""
            return n * math.log(self.original_context / (turns * 2 * math.pi)) / math.log(theta)

        low, high = pair(self.beta_fast), pair(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, 2 * n - 1)
        # A ramp of no length would divide by zero.
        ramp = (np.arange(n, dtype=np.float32) - np.float32(low)) / np.float32(high - low or 0.001)
        kept = 1 - np.clip(ramp, 0, 1)
        stretched = 1 / (np.float32(self.factor) * progression)
        result: np.ndarray = stretched * (1 - kept) + 1 / progression * kept
        return result


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope:
    """Pairs of entries of queries and keys turned by position × frequency."""

    theta: float
    """Base of the geometric progression of wavelengths."""
    linear_factor: float = 1.0
    """All frequencies are divided by it (`rope_type: linear`)."""
    llama3: Llama3Scaling | None = None
    yarn: YarnScaling | None = None
    factors: tuple[float, ...] | None = None
    """Divisor of each frequency [n]: of `longrope`, or where a GGUF file gives them as a tensor."""
    width: int | None = None
    """How many first entries of a head turn, 2n; the rest stays as it is. None: all."""
    neighbours: bool = False
    """Whether a pair is two neighbours (GPT-J), and not an entry of each half."""
    attention_factor: float = 1.0
    """Queries and keys are multiplied by it where they turn (YaRN, longrope)."""

    def frequencies(self, head_width: int) -> np.ndarray:
        """Angular frequencies [n] in radians a token, float32."""
        width = np.float32(self.turned(head_width))
        exponent = np.arange(0, width, 2, dtype=np.float32) / width
        progression: np.ndarray = np.power(np.float32(self.theta), exponent, dtype=np.float32)
        if self.yarn is not None:
            return self.yarn.scaled(progression, self.theta).astype(np.float32)
        if self.factors is not None:
            progression = np.asarray(self.factors, np.float32) * progression
        frequency = 1 / progression / np.float32(self.linear_factor)
        if self.llama3 is not None:
            frequency = self.llama3.scaled(frequency)
        return frequency.astype(np.float32)

    def turned(self, head_width: int) -> int:
        """How many entries of a head turn, 2n."""
        return head_width if self.width is None else self.width


def yarn_factor(factor: float, scale: float = 1.0) -> float:
    """What YaRN multiplies queries and keys by (arXiv 2309.00071, §3.4)."""
    return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0
