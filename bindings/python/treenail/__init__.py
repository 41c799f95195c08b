"""treenail: writes trained models as `.tn` files, which `treenail compile`
makes native libraries of; and loads those."""
from .errors import UnsupportedError
from .export import build, export
from .library import Library, Stream

__all__ = ["Library", "Stream", "UnsupportedError", "build", "export"]
__version__ = "0.1.0"
