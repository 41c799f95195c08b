"""treenail: writes trained models as `.tn` files, which `treenail compile`
makes native libraries of."""
from .errors import UnsupportedError
from .export import build, export

__all__ = ["UnsupportedError", "build", "export"]
__version__ = "0.1.0"
