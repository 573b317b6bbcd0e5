"""SANSA's own package (PyPI `sansa` 1.1.0), in its interpreter; see peer_io. Options: factor (icf, cholmod), l2, density, scans, finetune.

Its `recommend` hides no item but those of its input, and stops at a user with fewer than 20 scores: lists are made of its `forward`,
where what it does not score is 0, as in ours.
"""

from __future__ import annotations

from benchmarks.scale.peer_io import Asked, Made, by_scores, serve


def fit(asked: Asked, options: dict[str, str], threads: int) -> Made:
    """The weights are two sparse matrices, each with a share `density` of n x n."""
    import numba
    import sansa

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    factors = {
        "icf": sansa.ICFGramianFactorizerConfig,
        "cholmod": sansa.CHOLMODGramianFactorizerConfig,
    }
    config = sansa.SANSAConfig(
        l2=float(options["l2"]),
        weight_matrix_density=float(options["density"]),
        gramian_factorizer_config=factors[options["factor"]](),
        lower_triangle_inverter_config=sansa.UMRUnitLowerTriangleInverterConfig(
            scans=int(options["scans"]), finetune_steps=int(options["finetune"])
        ),
    )
    model = sansa.SANSA(config).fit(asked.train)
    entries = sum(part.nnz for part in model.weights)
    told = {"entries": entries, "an_item": round(entries / asked.train.shape[1], 1)}
    return Made(by_scores(lambda users: model.forward(asked.train[users]).toarray()), told)


if __name__ == "__main__":
    serve(fit, ["numba", "sansa"])
