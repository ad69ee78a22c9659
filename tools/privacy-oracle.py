"""What others say of rounds with noise: the numbers that src/federation/privacy is held against. Epsilons are Google's (dp-accounting) and
Opacus's; what discrete Gaussians are, mpmath and NumPy compute from the papers' definitions.

Run it outside the repository, and keep what it prints:
    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install dp-accounting==0.6.0 opacus==1.6.0 mpmath
    /tmp/oracle/bin/python tools/privacy-oracle.py > src/federation/privacy/oracle.json
"""

import json

import mpmath
import numpy as np
from dp_accounting import (
    ComposedDpEvent,
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import PRVAccountant
from scipy.stats import beta

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


def losses(delta, series):
    """Rounds of several kinds together, as (sampling, noise, rounds): by Google's privacy loss distributions, and by Opacus's random
    variables (Gopi et al. 2021), which say what epsilon is at least and at most."""
    accountant = PLDAccountant(neighboring_relation=ADD_OR_REMOVE)
    for sampling, noise, rounds in series:
        event = PoissonSampledDpEvent(sampling, GaussianDpEvent(noise)) if sampling < 1 else GaussianDpEvent(noise)
        accountant.compose(SelfComposedDpEvent(event, rounds))
    prv = PRVAccountant()
    prv.history = [(noise, sampling, rounds) for sampling, noise, rounds in series]
    return {
        "delta": delta,
        "series": [dict(zip(("sampling", "noise", "rounds"), one)) for one in series],
        "google": accountant.get_epsilon(delta),
        "opacus": float(prv.get_epsilon(delta, eps_error=0.002, delta_error=delta / 1000)),
    }


mpmath.mp.prec = 400


def bell(x, variance):
    return mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * variance))


def hexadecimal(share):
    """The first 192 bits of a number in [0, 1)."""
    return f"{int(mpmath.floor(share * 2**192)):048x}"


def discrete(variance, values):
    """N_Z(0, variance): shares of all values up to x, and of x."""
    most = int(40 * variance**0.5) + 40
    weights = {x: bell(x, variance) for x in range(-most, most + 1)}
    total = mpmath.fsum(weights.values())
    below = lambda x: mpmath.fsum(w for y, w in weights.items() if y <= x) / total
    return {
        "variance": variance,
        "ends": [{"value": x, "upTo": hexadecimal(below(x))} for x in values],
        "shares": [float(weights[x] / total) for x in range(-12, 13)],
    }


def rounding(center, variance):
    """N_Z(center, variance) for the center that this float64 is: running shares from the nearest whole number outwards, above first."""
    whole = int(np.floor(center + 0.5))
    order = [0]
    for j in range(1, 40):
        order += [j, -j]
    weights = [bell(whole + j - mpmath.mpf(center), variance) for j in order]
    total = mpmath.fsum(weights)
    ends = [mpmath.fsum(weights[: i + 1]) / total for i in range(9)]
    return {
        "center": center,
        "ends": [{"value": whole + order[i], "next": whole + order[i + 1], "upTo": hexadecimal(ends[i])} for i in range(9)],
    }


def lattice(center, variance, points):
    weights = np.exp(-((points - center) ** 2) / (2 * variance))
    return weights / weights.sum()


def clients_sum(centers, variance, small, points):
    """The sum of what clients send: each rounds its number by N_Z(center, small), and adds N_Z(0, variance)."""
    out = None
    for center in centers:
        one = np.convolve(lattice(center, small, points), lattice(0, variance, points))
        out = one if out is None else np.convolve(out, one)
    return out


def rounded_gaussian(center, variance, small, points):
    """N(center, variance) on all numbers, rounded by N_Z(., small)."""
    deviation = variance**0.5
    at = np.linspace(center - 12 * deviation, center + 12 * deviation, 20001)
    density = np.exp(-((at - center) ** 2) / (2 * variance))
    density /= density.sum()
    kernel = np.exp(-((points[None, :] - at[:, None]) ** 2) / (2 * small))
    kernel /= kernel.sum(axis=1, keepdims=True)
    return density @ kernel


def divergence(clients, variance, small):
    """The largest |log| of the ratio of both, over centers, as far out as float64 is exact."""
    most = 0.0
    points = np.arange(-60, 61)
    for center in np.linspace(0, 0.5, 6):
        sent = clients_sum([center] * clients, variance, small, points)
        far = 60 * 2 * clients
        wide = np.arange(-far, far + 1)
        whole = clients * (variance + small)
        told = rounded_gaussian(clients * center, whole - small, small, wide)
        near = np.abs(wide) < 4 * whole**0.5
        most = max(most, float(np.abs(np.log(sent[near] / told[near])).max()))
    return {"clients": clients, "variance": variance, "rounding": small, "most": most}


def distributed(clients, noise, variance, small, epsilons):
    """One coordinate of a round whose canary sends its clip, or nothing, beside as many clients as make all of the noise: the delta of
    each epsilon, of the sum as the ring has it. The step of the ring follows from what one client's noise has to be."""
    whole = clients * (variance + small)
    clip = ((whole - small) ** 0.5) / noise  # In steps: z times the clip is the deviation that counts.
    points = np.arange(-400, 401)
    out = []
    others = [0.0] * (clients - 1)
    for at in (0.0, 0.3):
        p = clients_sum([*others, at + clip], variance, small, points)
        q = clients_sum([*others, at], variance, small, points)
        for epsilon in epsilons:
            for one, other in ((p, q), (q, p)):
                out.append({"epsilon": epsilon, "delta": float(np.maximum(0, one - np.exp(epsilon) * other).sum())})
    return {"clients": clients, "noise": noise, "variance": variance, "rounding": small, "clip": clip, "found": out}


def limits(seen, of, error):
    """Clopper and Pearson, by SciPy's beta distribution."""
    low = float(beta.ppf(error / 2, seen, of - seen + 1)) if seen > 0 else 0
    high = float(beta.ppf(1 - error / 2, seen + 1, of - seen)) if seen < of else 1
    return {"seen": seen, "of": of, "error": error, "low": low, "high": high}


print(
    json.dumps(
        {
            "limits": [
                limits(*case)
                for case in [(0, 10, 0.05), (10, 10, 0.05), (3, 50, 0.01), (54, 40_000, 0.01), (39_000, 40_000, 0.02)]
            ],
            "losses": [
                losses(1e-5, [(0.05, 1.0, 100)]),
                losses(1e-6, [(0.05, 1.0, 100), (0.2, 2.0, 50)]),
                losses(1e-5, [(1.0, 8.0, 60), (0.01, 0.8, 500)]),
                losses(1e-7, [(0.02, 1.2, 2000)]),
                losses(1e-5, [(0.5, 3.0, 30)]),
                losses(1e-6, [(0.001, 0.6, 10000)]),
            ],
            "discrete": [discrete(16, [-9, -1, 0, 5, 20]), discrete(441, [-100, -1, 0, 33, 60])],
            "rounding": [rounding(0.0, 3), rounding(0.3, 3), rounding(-7.75, 3), rounding(1000.4999, 3), rounding(1e-9, 3)],
            "divergence": [divergence(n, v, r) for n, v, r in [(1, 1, 0.25), (1, 4, 0.3), (2, 1, 0.5), (3, 1, 0.4), (5, 2, 0.35)]],
            "distributed": [
                distributed(2, 1.0, 16, 3, [0.5, 1, 2, 4]),
                distributed(3, 0.5, 16, 3, [1, 4, 8]),
                distributed(5, 2.0, 441, 3, [0.1, 0.5, 1]),
            ],
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
