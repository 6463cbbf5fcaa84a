"""The sweeps over lattices, once per backend, all with the same signatures.

``total`` (log-score, and the gradient when asked), ``best_path`` and ``posteriors`` take a checked ``Problem``.
``reference`` is the executable specification in float64; ``native`` the C++ one; ``portable`` (torch's operations)
and ``triton`` (GPUs) take tensors instead. May import validate/, lattice.py, errors.py and results.py.
"""
