"""The environment that ports, their builds and their compilers get: a known one, whatever the shell holds.

What finds programs, libraries, devices and the network passes; the rest stays behind, because a variable that was
set for debugging, for coverage or for another program can change a figure by a hundred times, unseen. What a port
needs beside that is set by its manifest.
"""

from __future__ import annotations

import os
import re
import sysconfig

from portbench.hosts import memory

_PASSES = re.compile(
    r"PATH|USER|LOGNAME|SHELL|PWD|TZ|LANG|LANGUAGE|LC_.*|TMPDIR|TMP|TEMP|XDG_.*|PORTBENCH_.*"
    r"|VIRTUAL_ENV|CONDA_PREFIX|PYTHONPATH|PYTHONHOME|PYTHONUSERBASE|PYTHONNOUSERSITE"
    r"|(DY)?LD_LIBRARY_PATH|DYLD_FALLBACK_LIBRARY_PATH|SDKROOT|DEVELOPER_DIR|MACOSX_DEPLOYMENT_TARGET|NIX_.*"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(HTTPS?|ALL|NO|FTP)_PROXY|(https?|all|no|ftp)_proxy"
    r"|([A-Z0-9_]*_)?HOME|([A-Z0-9]+_?)ROOT|GOPATH|GOCACHE|RUSTUP_TOOLCHAIN|PKG_CONFIG_PATH|CMAKE_PREFIX_PATH"
    r"|JULIA_DEPOT_PATH|JULIA_PKG_SERVER|JULIA_PKG_OFFLINE|JULIA_SSL_CA_ROOTS_PATH|JULIAUP_.*"
    r"|PYTHON_JULIACALL_(EXE|PROJECT)|PYTHON_JULIAPKG_.*"
    r"|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|CUDA_PATH|ROCM_PATH|(HIP|ROCR|NVIDIA)_VISIBLE_DEVICES"
    r"|OPENBLAS_CORETYPE|OPENBLAS_L2_SIZE"  # on some machines OpenBLAS is wrong without
)
# Of what passes, what can change a result or a figure: it belongs to a certificate.
_TELLS = re.compile(
    r"PYTHON.*|(DY)?LD_.*|CONDA_PREFIX|JULIA_DEPOT_PATH|PYTHON_JULIACALL_.*|MODULAR_HOME|OPENBLAS_.*"
    r"|.*_VISIBLE_DEVICES|CUDA_.*|ROCM_PATH"
)
# Of what stays behind, what would have changed what runs, and may be missed.
_MATTERS = re.compile(
    r"(NUMBA|OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|GOTO|VECLIB|NUMEXPR|TBB|NUMPY|NPY|JAX|XLA|JULIA|PYTHON_JULIACALL|MOJO"
    r"|MODULAR|CUDA|MALLOC|COVERAGE|COV_CORE|LD|DYLD|RUSTFLAGS|CARGO)(_.*|)"
    r"|GLIBC_TUNABLES|(C|CXX|CPP|F|FC|LD)FLAGS|CC|CXX|FC|CPATH|C_INCLUDE_PATH|CPLUS_INCLUDE_PATH|LIBRARY_PATH"
    r"|COMPILER_PATH|GCC_EXEC_PREFIX|PYTHON(OPTIMIZE|DEVMODE|MALLOC|HASHSEED|PROFILEIMPORTTIME"
    r"|TRACEMALLOC|STARTUP|INSPECT|DEBUG|NODEBUGRANGES|PERFSUPPORT|PLATLIBDIR|SAFEPATH|PYCACHEPREFIX)"
)
_OF_JOBLIB = "KMP_INIT_AT_FORK"  # which sets it when it is imported
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def search_path() -> str:
    """PATH with this Python's own programs first: the mojo of this environment, not of another."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def known(own: dict[str, str]) -> dict[str, str]:
    """What passes, and `own`, which the manifest sets."""
    return {
        **{name: value for name, value in os.environ.items() if _PASSES.fullmatch(name)},
        "PATH": search_path(),
        "MODULAR_TELEMETRY_ENABLED": "false",
        "MODULAR_CRASH_REPORTING_ENABLED": "false",
        **own,
    }


def of_a_port(threads: int, own: dict[str, str]) -> dict[str, str]:
    """The same for a port that runs on so many threads."""
    count = dict.fromkeys(("PORTBENCH_THREADS", *_THREADS), str(threads))
    return known(count | memory.ENVIRONMENT | {"PYTHONUNBUFFERED": "1"} | own)


def passed() -> dict[str, str]:
    """Of what passes, what can change a result or a figure."""
    return {
        name: value for name, value in sorted(os.environ.items()) if _PASSES.fullmatch(name) and _TELLS.fullmatch(name)
    }


def dropped() -> list[str]:
    """Variables that are set here, would change what runs, and stay behind. Those that portbench sets itself are
    none of them.
    """
    set_here = {
        _OF_JOBLIB,
        *_THREADS,
        *memory.ENVIRONMENT,
        "MODULAR_TELEMETRY_ENABLED",
        "MODULAR_CRASH_REPORTING_ENABLED",
    }
    return sorted(
        name for name in os.environ if _MATTERS.fullmatch(name) and not _PASSES.fullmatch(name) and name not in set_here
    )
