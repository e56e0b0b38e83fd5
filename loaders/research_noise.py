"""Noise of counts: the discrete Laplace mechanism of OpenDP, which gives ε-differential privacy.

Of two sets of patients of which one has one patient more, no answer is over e^ε times as likely from one as from the
other (Dwork, McSherry, Nissim, Smith 2006; of integers: Ghosh, Roughgarden, Sundararajan 2009). That holds for a whole
list of counts where every patient is counted in one of them at most. Several answers compose by adding up their ε.

Not covered: how long an answer takes, and what several patients of one family have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

OUTSIDE = 0.05
"""Share of the answers whose noise is larger than the margin."""


def noisy(counts: Sequence[int], epsilon: float) -> list[int]:
    """Each count with noise of its own, of scale 1/ε; it may come out negative.

    OpenDP is imported here: it brings Polars, for which a process that never counts need not wait. Its samples come
    from the randomness of the operating system and are exact: nothing is rounded (Canonne, Kamath, Steinke 2020).
    """
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    space = vector_domain(atom_domain(T=int)), l1_distance(T=int)
    scale = 1 / epsilon
    while (mechanism := make_laplace(*space, scale)).map(1) > epsilon:
        scale = math.nextafter(scale, math.inf)  # 1/ε was rounded down
    return mechanism(list(counts))


def margin(epsilon: float) -> int:
    """Half the width of the 95 % interval: the least m such that the noise is beyond ±m in 5 % of the answers at most.

    With a = e^-ε the noise is beyond ±m with probability 2 a^(m+1) / (1 + a).
    """
    beyond = math.log(OUTSIDE * (1 + math.exp(-epsilon)) / 2) / -epsilon
    return max(math.ceil(beyond) - 1, 0)
