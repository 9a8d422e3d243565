"""To be imported first. Python searches a script's own folder before all others, and in this one `evaluate.py`
would hide the library of that name. The folder goes last: where processes are spawned, they import the script again."""

import os
import sys

_here = os.path.realpath(os.path.dirname(__file__))
_others = [path for path in sys.path if os.path.realpath(path or os.curdir) != _here]
sys.path[:] = [*_others, _here]
