"""Build the compiled stand-in of tests/sdaa."""

import os
import shutil
import subprocess
from pathlib import Path

import torch

SOURCE = Path(__file__).parents[1] / "sdaa" / "compiled" / "sdaa_device.cpp"


def build(folder: Path) -> Path | None:
    """The library of sdaa_device.cpp in `folder`; `None` where there is no C++ compiler.

    Raises:
        subprocess.CalledProcessError: where it doesn't compile.
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        return None
    root, library = Path(torch.__file__).parent, folder / "libsdaa.so"
    command = [compiler, "-shared", "-fPIC", "-O0", "-g0", "-w", "-std=c++20"]  # newer headers need that
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}", f"-I{root / 'include'}"]
    command += [f"-I{root / 'include/torch/csrc/api/include'}", str(SOURCE), "-o", str(library)]
    subprocess.run([*command, f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu", "-ltorch"], check=True)
    return library
