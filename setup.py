"""Packaging of d2l-recsys. MXNet is an extra, because two wheels provide it."""

from pathlib import Path

from setuptools import find_packages, setup

# MXNet's wheels run on Python 3.13, but ask for NumPy below 2, which does not. Without
# this marker pip would try to compile an old NumPy there. README tells what to do.
BELOW_313 = "; python_version < '3.13'"

# Recent releases of Numba have no wheels for Intel Macs.
NOT_INTEL_MAC = "; sys_platform != 'darwin' or platform_machine != 'x86_64'"

# The CUDA 11 libraries, so that NVIDIA's driver is all a machine needs.
CUDA = [
    "nvidia-cublas-cu11==11.10.3.66",
    "nvidia-cuda-nvrtc-cu11==11.7.99",
    "nvidia-cuda-runtime-cu11==11.7.99",
    "nvidia-cudnn-cu11==8.5.0.96",
    "nvidia-cufft-cu11==10.7.2.91",
    "nvidia-curand-cu11==10.2.10.91",
    "nvidia-cusolver-cu11==11.4.0.1",
    "nvidia-nccl-cu11==2.14.3",
    "nvidia-nvtx-cu11==11.7.91",
]

setup(
    name="d2l-recsys",
    version="0.2.0",
    license="MIT",
    description="Companion code for the Recommender Systems chapter of "
    "Dive into Deep Learning (MXNet)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["d2l_recsys*", "chapters*"]),
    package_data={
        "chapters.runner": ["printed.csv"],
        "d2l_recsys": ["py.typed"],
        "d2l_recsys.tools": ["d2l_recsys.mplstyle"],
    },
    entry_points={
        "console_scripts": ["d2l-recsys=d2l_recsys.__main__:main_for_a_pipe"],
    },
    python_requires=">=3.8,<3.14",
    install_requires=[
        # d2l pins releases of NumPy and others that have no wheels for Python 3.12.
        "d2l==1.0.3; python_version < '3.12'",
        # IPython 9 breaks pyplot with the matplotlib-inline 0.1.6 that d2l pins.
        "ipython<9; python_version < '3.12'",
        "matplotlib>=3.7.2",
        "numba" + NOT_INTEL_MAC,  # without it, large trainings take longer
        "numpy>=1.23.5,<3",
        "pandas>=2.0.3,<3.1",  # 3.1 reads a column of text as numbers
        "pooch",
        "requests",
        "threadpoolctl>=3",
        "tqdm",
    ],
    extras_require={
        "cpu": ["mxnet==1.9.1" + BELOW_313],
        "cu112": ["mxnet-cu112==1.9.1" + BELOW_313, *CUDA],
        "cuda11": CUDA,  # for mxnet-cu112 that is installed with --no-deps
        # For make, which installs it from the lock: pip can't resolve d2l on 3.12+.
        "dev": [
            "d2l==1.0.3",
            "hypothesis",
            "jupytext",
            "mypy<1.15",  # 1.15 does not run on Python 3.8
            "nbclient",
            "nox",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "scipy",
            "setuptools",
            "uv",
            "wheel",
        ],
        # For `make site`, on Python 3.11 or newer.
        "site": [
            "furo",
            "myst-nb",
            "selenium",
            "sphinx",
            "sphinx-mathjax-offline",
        ],
    },
)
