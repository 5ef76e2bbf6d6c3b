"""Runs in sbi's own environment: trains NPE with its CNN embedding, and answers for the test observations.

Usage: python sbi_npe.py FOLDER FLOW ROWS THREADS (evaluate|train)
FOLDER holds x.npy and test_x.npy (n, C, T), nan where nothing was observed, and u.npy, test_u.npy: parameters (n, P)
mapped to [0, 1] on the prior's own scale, where the prior is uniform. The first ROWS of x are used. Writes sbi.json and,
if it evaluates, sbi_u.npy: samples (n, S, P), and sbi_log_prob.npy (2, n): log density of the truth in [0, 1]^P as the
flow has it, and divided by its mass within the prior.

All settings are sbi's defaults: every sample and parameter z-scored, batches of 200, Adam with 5e-4, stop after 20 epochs
without improvement on a tenth of the rows.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import sbi
import torch
from sbi.inference import NPE
from sbi.neural_nets import posterior_nn
from sbi.neural_nets.embedding_nets import CNNEmbedding
from sbi.utils import BoxUniform

SAMPLES = 1000  # of each posterior
DRAWS = 2000  # of which those within the prior are kept: rejection sampling that always ends
ROWS_AT_ONCE = 20
TIMED = 50  # posteriors that are sampled one by one
LONGEST = 20.0  # s for one of them


def load(path, rows=None):
    """Observations in memory once, gaps filled with the last value before them (the first after them at the start)."""
    x = np.array(np.load(path, mmap_mode="r")[:rows])
    for row in x:  # row by row: no second array of this size
        for values in row:
            seen = np.flatnonzero(np.isfinite(values))
            if 0 < len(seen) < len(values):
                index = np.searchsorted(seen, np.arange(len(values)), side="right") - 1
                values[:] = values[seen[index.clip(0)]]
    return np.nan_to_num(x, copy=False)


def peak_gigabytes():
    """Largest resident size of this process."""
    try:  # getrusage's also counts what the process that started this one held
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024e-9 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-9 if sys.platform == "darwin" else 1024e-9)


@torch.no_grad()
def evaluate(posterior, x, u):
    """Samples within the prior (n, S, P), log densities (2, n), the flow's mass within the prior (n,)."""
    samples, log_prob, mass = [], [], []
    for part, truth in zip(x.split(ROWS_AT_ONCE), u.split(ROWS_AT_ONCE), strict=True):
        drawn = posterior.sample_batched((DRAWS,), x=part, reject_outside_prior=False, show_progress_bars=False)
        inside = ((drawn >= 0) & (drawn <= 1)).all(-1)
        for row in range(len(part)):
            kept = drawn[inside[:, row], row]
            kept = kept if len(kept) else drawn[:, row].clamp(0, 1)
            samples.append(kept[torch.arange(SAMPLES) % len(kept)])
        mass.append(inside.float().mean(0).clamp(min=1 / DRAWS))
        log_prob.append(posterior.log_prob_batched(truth[None], x=part, norm_posterior=False)[0])
    log_prob, mass = torch.cat(log_prob), torch.cat(mass)
    return torch.stack(samples), torch.stack([log_prob, log_prob - mass.log()]), mass


def main(folder, flow, rows, threads, task):
    """Train and, if asked to, evaluate."""
    folder, threads = Path(folder), int(threads)
    os.chdir(folder)  # sbi writes its logs where it runs
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    began, cpu = time.perf_counter(), time.process_time()
    x, u = load(folder / "x.npy", int(rows)), torch.from_numpy(np.load(folder / "u.npy")[: int(rows)])
    network = CNNEmbedding(input_shape=(x.shape[-1],), in_channels=x.shape[1])
    density = posterior_nn(model=flow, embedding_net=network)
    prior = BoxUniform(torch.zeros(u.shape[1]), torch.ones(u.shape[1]))
    inference = NPE(prior=prior, density_estimator=density, show_progress_bars=False)
    inference.append_simulations(u, torch.from_numpy(x))
    del x
    inference.train()
    result = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "epochs": len(inference.summary["validation_loss"]),
        "validation_loss": [float(value) for value in inference.summary["validation_loss"]],
        "peak_gigabytes": peak_gigabytes(),
        "versions": {"sbi": sbi.__version__, "torch": torch.__version__},
    }
    if task == "evaluate":
        posterior = inference.build_posterior()
        test = torch.from_numpy(load(folder / "test_x.npy"))
        samples, log_prob, mass = evaluate(posterior, test, torch.from_numpy(np.load(folder / "test_u.npy")))
        np.save(folder / "sbi_u.npy", samples.numpy())
        np.save(folder / "sbi_log_prob.npy", log_prob.numpy())
        began = time.perf_counter()
        for row in test[:TIMED]:
            posterior.sample(
                (SAMPLES,),
                x=row[None],
                show_progress_bars=False,
                max_sampling_time=LONGEST,
                return_partial_on_timeout=True,
            )
        result["seconds_per_1000_samples"] = (time.perf_counter() - began) / min(TIMED, len(test))
        result["mass_within_prior"] = float(mass.mean())
        result["parameters"] = sum(p.numel() for p in posterior.posterior_estimator.parameters())
    (folder / "sbi.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
