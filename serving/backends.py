"""On what many days are scored at once: joblib's own backends, or those that Spark, Dask and Ray register with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Literal, get_args

from features.errors import DataContractError

Backend = Literal["loky", "threading", "multiprocessing", "spark", "dask", "ray"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_REGISTERED: dict[str, tuple[str, str, str]] = {
    # backend: package to install, module, what to call in it before joblib may use it
    "spark": ("joblibspark", "joblibspark", "register_spark"),
    "dask": ("dask[distributed]", "distributed", "Client"),
    "ray": ("ray", "ray.util.joblib", "register_ray"),
}


def check_backend(backend: str) -> None:
    """Refuse a backend that does not exist or is not installed.

    Raises
    ------
    DataContractError
        With the names there are, or the package to install.
    """
    if backend not in BACKENDS:
        raise DataContractError(f"`backend` must be one of {', '.join(BACKENDS)}; got {backend!r}")
    if backend not in _REGISTERED:
        return
    package, module, _ = _REGISTERED[backend]
    try:
        import_module(module)
    except ImportError as error:
        raise DataContractError(
            f"`backend` {backend} needs the package {package}; install it or choose loky, threading or multiprocessing"
        ) from error


@contextmanager
def parallel_backend(backend: str, jobs: int) -> Iterator[None]:
    """Let `joblib.Parallel` inside run on a backend with a number of jobs.

    Processes elsewhere must see the same artefacts and output folders. Spark, Dask and Ray find their cluster as their
    own environment says; without one they work on this machine.

    Raises
    ------
    DataContractError
        As `check_backend`.
    """
    import joblib

    check_backend(backend)
    with ExitStack() as stack:
        if backend in _REGISTERED:
            _, module, function = _REGISTERED[backend]
            made = getattr(import_module(module), function)()
            if backend == "dask":  # joblib schedules on whatever client is the current one
                stack.enter_context(made)
        stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=jobs))
        yield
