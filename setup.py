"""Packaging of d2l-recsys. MXNet is an extra, because two wheels provide it."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="d2l-recsys",
    version="0.1.0",
    description="Companion code for the Recommender Systems chapter of "
    "Dive into Deep Learning (MXNet)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["d2l_recsys*", "chapters*"]),
    package_data={"chapters.runner": ["printed.csv"], "d2l_recsys": ["py.typed"]},
    entry_points={"console_scripts": ["d2l-recsys=d2l_recsys.__main__:main"]},
    python_requires=">=3.8,<3.12",
    install_requires=[
        "d2l==1.0.3",  # pins numpy 1.23.5, pandas 2.0.3, matplotlib 3.7.2, scipy 1.10.1
        "ipython<9",  # 9 breaks pyplot with d2l's matplotlib-inline 0.1.6
        "pooch",
        "tqdm",
    ],
    extras_require={
        "cpu": ["mxnet==1.9.1"],
        # The CUDA 11 libraries too, so that NVIDIA's driver is all a machine needs.
        "cu112": [
            "mxnet-cu112==1.9.1",
            "nvidia-cublas-cu11==11.10.3.66",
            "nvidia-cuda-nvrtc-cu11==11.7.99",
            "nvidia-cuda-runtime-cu11==11.7.99",
            "nvidia-cudnn-cu11==8.5.0.96",
            "nvidia-cufft-cu11==10.7.2.91",
            "nvidia-curand-cu11==10.2.10.91",
            "nvidia-cusolver-cu11==11.4.0.1",
            "nvidia-nccl-cu11==2.14.3",
            "nvidia-nvtx-cu11==11.7.91",
        ],
        "dev": [
            "hypothesis",
            "jupytext",
            "mypy<1.15",  # 1.15 does not run on Python 3.8
            "nbclient",
            "pytest",
            "ruff",
            "scikit-learn",
            "setuptools",
            "wheel",
        ],
    },
)
