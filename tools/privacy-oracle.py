"""What Google's dp-accounting says of rounds with noise: the numbers that src/core/privacy is held against.

Run it outside the repository, and keep what it prints:
    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install dp-accounting==0.6.0
    /tmp/oracle/bin/python tools/privacy-oracle.py > src/core/privacy/oracle.json
"""

import json

from dp_accounting import (
    ComposedDpEvent,
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

DELTA = 1e-5
ADD_OR_REMOVE = NeighboringRelation.ADD_OR_REMOVE_ONE


def epsilons(event, rounds):
    """Upper bounds by Renyi divergences (Canonne et al. 2020) and by privacy loss distributions."""
    out = {}
    for name, accountant in (
        ("rdp", RdpAccountant(neighboring_relation=ADD_OR_REMOVE)),
        ("pld", PLDAccountant(neighboring_relation=ADD_OR_REMOVE)),
    ):
        accountant.compose(SelfComposedDpEvent(event, rounds))
        out[name] = accountant.get_epsilon(DELTA)
    return out


def plain(sampling, noise, rounds):
    event = PoissonSampledDpEvent(sampling, GaussianDpEvent(noise))
    return {"sampling": sampling, "noise": noise, "rounds": rounds, **epsilons(event, rounds)}


def adaptive(sampling, noise, rounds, clients):
    """Two Gaussians of one draw: the clipped sum with z_Delta, and the count of norms below the clip, whose noise of
    clients / 20 stands against a sensitivity of one half (Andrew et al. 2021, algorithm 1)."""
    share = (clients / 20) / 0.5
    beside = (noise**-2 - share**-2) ** -0.5
    both = ComposedDpEvent([GaussianDpEvent(beside), GaussianDpEvent(share)])
    accountant = RdpAccountant(neighboring_relation=ADD_OR_REMOVE)  # The other one knows no sampled pairs.
    accountant.compose(SelfComposedDpEvent(PoissonSampledDpEvent(sampling, both), rounds))
    found = {"rdp": accountant.get_epsilon(DELTA)}
    return {"sampling": sampling, "noise": noise, "rounds": rounds, "clients": clients, "beside": beside, **found}


print(
    json.dumps(
        {
            "delta": DELTA,
            "plain": [
                plain(*case)
                for case in [
                    (1.0, 1.0, 1),
                    (1.0, 4.0, 100),
                    (0.05, 1.0, 100),
                    (0.01, 0.8, 1000),
                    (0.2, 2.0, 50),
                    (256 / 60000, 1.3, 3515),
                    (256 / 60000, 0.7, 10546),
                ]
            ],
            "adaptive": [adaptive(0.05, 1.0, 100, clients) for clients in (12, 20, 100)],
        },
        indent=1,
    )
)
