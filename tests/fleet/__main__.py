"""`make fleet`: 50 models on 8 GPUs of different sizes, 10,000 requests, all simulated."""

import sys
import time
from statistics import median, quantiles

from tests.fleet.fleets import fleet

SIZES_GB = [8, 12, 16, 24, 24, 48, 80, 80]
BOUND_S = 240.0
"""No request waits longer for a worker while the load can be borne."""


def main() -> int:
    failed = False
    for seed in range(3):
        began_at = time.monotonic()
        simulation = fleet(sizes_gb=SIZES_GB, models=50, requests=10_000, per_s=4.0, seed=seed)
        simulation.run()
        waits, errors, counts = simulation.waits(), simulation.errors(), simulation.counts
        print(
            f"seed {seed}: {len(waits)} of 10000 dispatched in {simulation.now:.0f} s of simulated time; "
            f"waited {median(waits):.2f} s (median), {quantiles(waits, n=100)[98]:.1f} s (99 %), "
            f"{max(waits):.1f} s (longest); {counts['started']} loads, {counts['stopped']} evictions; "
            f"errors {dict(errors) or 'none'}; took {time.monotonic() - began_at:.1f} s"
        )
        failed |= bool(errors) or max(waits) > BOUND_S
    print("failed" if failed else "every request was answered, no device was over its budget")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
