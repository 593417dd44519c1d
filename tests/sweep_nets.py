"""Networks for sweeps, good and bad; a test copies this file to where it needs it."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn


class Good(nn.Module):
    """Each one made leaves a line in made.txt, after ``wait`` seconds, and not before ``after`` others have."""

    def __init__(self, width=8, wait=0.0, after=0):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        time.sleep(wait)
        while after and (not Path("made.txt").exists() or Path("made.txt").read_text().count("\n") < after):
            time.sleep(0.02)
        with open("made.txt", "a") as file:
            file.write(f"{width} {os.getpid()} {os.getppid()}\n")

    def forward(self, x):
        return self.conv(x).relu()


class AsksForNumbers(Good):
    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x


class Fixed(Good):
    def forward(self, x):
        assert x.shape[-1] == 32, "takes 32 and nothing else"
        return super().forward(x)


class Exits(Good):
    def __init__(self):
        super().__init__()
        print("I am leaving", file=sys.stderr, flush=True)
        os._exit(3)


class Raises(Good):
    def __init__(self):
        raise OSError("no weights here")


class Quits(Good):
    def forward(self, x):
        sys.exit(4)


class HangsAtTwo(Good):
    def forward(self, x):
        if x.shape[0] == 2:
            time.sleep(1000)
        return super().forward(x)


class CrashesAtTwo(Good):
    def forward(self, x):
        if x.shape[0] == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(x)


class KillsItsParent(Good):
    def __init__(self):
        super().__init__()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)


class Writes(Good):
    """What it says must not stand among the answers; what it changes must not reach the next model."""

    def forward(self, x):
        print("hello")
        os.write(1, b"hello\n")
        torch.set_default_dtype(torch.float64)
        os.chdir("/")
        return super().forward(x)
