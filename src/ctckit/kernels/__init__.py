"""The sweeps over lattices, once per backend; backend.py has the protocol that all satisfy.

``total`` (log-scores, and the gradients that are wanted), ``posteriors`` and ``best_path`` take a checked ``Problem``.
``reference`` is the executable specification in float64, ``native`` the C++ backend; ``portable`` (torch's operations)
and ``triton`` (GPUs) take problems of tensors. May import problem.py and what lies below it.
"""
