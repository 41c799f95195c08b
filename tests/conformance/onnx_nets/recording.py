"""What the recorders of this folder share: rows, and files as ../README.md has
them."""
import hashlib
import pathlib
import struct

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def rows_of(arrays, axes):
    """[rows][elements]: of each array the rows along its batch axis, flat, one
    array's after the other's."""
    return np.concatenate([np.moveaxis(np.asarray(a), axis, 0)
                           .reshape(a.shape[axis], -1)
                           for a, axis in zip(arrays, axes)], axis=1)


def write(path, rows, outputs):
    """outputs: (name, [rows][width] of f32, f64 or i32)."""
    assert rows.dtype in (np.float32, np.float64)
    out = b"TNREC2\0\0" + struct.pack("<4I", *rows.shape, len(outputs),
                                      int(rows.dtype == np.float64))
    out += np.ascontiguousarray(rows).tobytes()
    for name, values in outputs:
        kind = {np.dtype(np.float32): 0, np.dtype(np.float64): 1,
                np.dtype(np.int32): 2}[values.dtype]
        out += name.encode().ljust(16, b"\0")
        out += struct.pack("<2I", kind, values.shape[1])
        out += np.ascontiguousarray(values).tobytes()
    pathlib.Path(path).write_bytes(out)


def manifest_line(folder, name, outputs, tolerance):
    model = (pathlib.Path(folder) / f"{name}.onnx").read_bytes()
    words = [name, f"{name}.onnx", hashlib.sha256(model).hexdigest()]
    return " ".join(words + [f"{o}={tolerance:g}" for o, _ in outputs])


def add_to_manifest(folder, head, lines):
    """Replaces the lines of a recorder, which begins with `head`."""
    path = pathlib.Path(folder) / "MANIFEST"
    old = path.read_text().splitlines() if path.exists() else []
    names = {line.split()[0] for line in lines}
    tool = head.split()[1]
    kept = [x for x in old if x.split()[0] not in names and
            not (x.startswith("#") and x.split()[1] == tool)]
    path.write_text("\n".join(kept + [head] + lines) + "\n")
