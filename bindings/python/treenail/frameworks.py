"""Nets of PyTorch and Keras: through the framework's own ONNX exporter, and for
a `.tn` file through `treenail opt`, which reads ONNX. Neither framework is
imported unless the model is of it; the batch's size stays open.
"""
import inspect
import os
import shutil
import subprocess
import tempfile
import warnings

from .errors import name_of, unsupported


def framework_of(model):
    """"torch", "keras" or None, without importing either."""
    for base in type(model).__mro__:
        package = base.__module__.split(".")[0]
        if (base.__module__, base.__name__) == ("torch.nn.modules.module",
                                                "Module"):
            return "torch"
        if package in ("keras", "tf_keras", "tensorflow") and \
                base.__name__ == "Model":
            return "keras"
    return None


def is_state_dict(model):
    """Whether it is a state_dict or a checkpoint around one: tensors by name."""
    return isinstance(model, dict) and (
        "state_dict" in model or
        any(type(v).__module__.split(".")[0] == "torch"
            for v in model.values()))


def said(error):
    """An exporter's refusal, or what it came from, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


# ------------------------------------------------------------------- PyTorch --

def two_of(x, axis):
    """An example of at least two rows: an exporter takes the size of one for
    a constant."""
    import torch
    return x if x.shape[axis] > 1 else torch.cat([x, x], axis)


def by_dynamo(model, args, names, path, axis):
    import torch
    known = inspect.signature(torch.onnx.export).parameters
    more = {"external_data": False} if "external_data" in known else {}
    batch = torch.export.Dim("batch")
    torch.onnx.export(model, args, path, dynamo=True, input_names=names,
                      dynamic_shapes=tuple({axis: batch} for _ in args),
                      **more)


def within(model):
    """The module as part of another: tracing makes inputs of the outermost
    forward()'s flags, which a transformer's layer cannot do with."""
    import torch

    class Only(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *args):
            return self.model(*args)
    return Only().eval()


def by_torchscript(model, args, names, path, axis):
    import torch
    known = inspect.signature(torch.onnx.export).parameters
    more = {"dynamo": False} if "dynamo" in known else {}
    if isinstance(model, (torch.nn.TransformerEncoderLayer,
                          torch.nn.TransformerDecoderLayer)):
        model = within(model)
    torch.onnx.export(model, args, path, input_names=names,
                      dynamic_axes={name: {axis: "batch"} for name in names},
                      **more)


TORCH_EXPORTERS = {"dynamo": by_dynamo, "torchscript": by_torchscript}


def has_dynamo():
    import torch
    return "dynamo" in inspect.signature(torch.onnx.export).parameters \
        and "dynamic_shapes" in inspect.signature(torch.onnx.export).parameters


def write_torch(model, path, example_input, batch_axis, exporter):
    import torch
    if example_input is None:
        raise ValueError("a model of PyTorch needs example_input: a tensor as "
                         "it takes it, or a tuple of them")
    if exporter not in (None, *TORCH_EXPORTERS):
        raise ValueError(f"exporter is {exporter!r}, not 'dynamo' or "
                         "'torchscript'")
    args = example_input if isinstance(example_input, (tuple, list)) \
        else (example_input,)
    args = tuple(two_of(torch.as_tensor(x), batch_axis) for x in args)
    names = ["x"] if len(args) == 1 else [f"x{i}" for i in range(len(args))]
    tried = [exporter] if exporter else \
        ["dynamo"] * has_dynamo() + ["torchscript"]
    was_training, failed = model.training, []
    model.eval()
    # A transformer's layer as one op of PyTorch's own has no ONNX.
    mha = getattr(torch.backends, "mha", None)
    was_fast = mha.get_fastpath_enabled() if mha else False
    if mha:
        mha.set_fastpath_enabled(False)
    try:
        for kind in tried:
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    TORCH_EXPORTERS[kind](model, args, names, path, batch_axis)
                return
            except Exception as error:  # an exporter raises whatever it likes
                failed.append((kind, error))
    finally:
        model.train(was_training)
        if mha:
            mha.set_fastpath_enabled(was_fast)
    reasons = "; ".join(f"{kind}: {said(error)}" for kind, error in failed)
    remedy = "pip install onnxscript" if any(
        isinstance(error, ImportError) or "onnxscript" in str(error)
        for _, error in failed) else None
    raise unsupported(model, f"torch.onnx.export refuses it ({reasons})",
                      remedy) from failed[0][1]


# --------------------------------------------------------------------- Keras --

def call_once(model):
    """Keras exports only what was called before: here with zeros."""
    import numpy as np
    inputs = getattr(model, "inputs", None)
    if inputs:
        zeros = [np.zeros([n or 1 for n in x.shape], x.dtype) for x in inputs]
        model(zeros[0] if len(zeros) == 1 else zeros)


def teach_tf2onnx():
    """TensorFlow's Erfc, which gelu is made of, as 1 - Erf; where tf2onnx does
    not know it, it writes an op that ONNX does not have."""
    import numpy as np
    from tf2onnx.handler import tf_op
    if any("Erfc" in ops for ops in tf_op.get_opsets().get("", [])):
        return

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx, node, **_):
            shapes, dtypes = node.output_shapes, node.output_dtypes
            kind = {1: np.float32, 11: np.float64}[dtypes[0]]
            one = ctx.make_const(f"{node.name}_one", np.array(1, kind))
            erf = ctx.make_node("Erf", [node.input[0]])
            ctx.remove_node(node.name)
            ctx.make_node("Sub", [one.output[0], erf.output[0]],
                          outputs=node.output, shapes=shapes, dtypes=dtypes)


def uses_tf2onnx(model):
    """Whether the model is TensorFlow's: of other backends there are other
    exporters."""
    for base in type(model).__mro__:
        if base.__module__.split(".")[0] == "keras":
            import keras
            return keras.backend.backend() == "tensorflow"
    return True


def write_keras(model, path):
    export = getattr(model, "export", None)
    try:
        if uses_tf2onnx(model):
            teach_tf2onnx()
        if export and "format" in inspect.signature(export).parameters:
            known = inspect.signature(export).parameters
            quiet = {"verbose": False} if "verbose" in known else {}
            call_once(model)
            export(path, format="onnx", **quiet)
        else:
            import tf2onnx
            tf2onnx.convert.from_keras(model, output_path=path)
    except ImportError as error:
        raise unsupported(model, f"Keras' exporter to ONNX is missing ({error})",
                          "pip install tf2onnx onnx") from error
    except Exception as error:  # an exporter raises whatever it likes
        raise unsupported(model, "Keras' exporter to ONNX refuses it "
                          f"({said(error)})") from error


# --------------------------------------------------------------------- files --

def command():
    return os.environ.get("TREENAIL") or shutil.which("treenail")


def convert(model, onnx, path):
    """An ONNX file -> a `.tn` file."""
    treenail = command()
    if treenail is None:
        raise FileNotFoundError(
            "the command treenail, which makes a .tn file of a net, is neither "
            "in the PATH nor named by $TREENAIL; export to a .onnx file "
            "instead, which treenail compile reads as well")
    done = subprocess.run([treenail, "opt", onnx, "-o", path],
                          capture_output=True, text=True)
    if done.returncode:
        raise unsupported(model, done.stderr.strip().replace(onnx, "its ONNX"))


def export_net(model, path, example_input=None, batch_axis=0, exporter=None):
    """Writes a net as `.onnx` or `.tn`, whole or not at all."""
    path = os.fspath(path)
    kind = os.path.splitext(path)[1]
    if kind not in (".onnx", ".tn"):
        raise ValueError(f"a net is written as .onnx or .tn, not as {path!r}")
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".treenail-") as beside:
        onnx = os.path.join(beside, f"{name_of(model)}.onnx")
        if framework_of(model) == "torch":
            write_torch(model, onnx, example_input, batch_axis, exporter)
        else:
            write_keras(model, onnx)
        if kind == ".tn":
            convert(model, onnx, path)
        elif len(os.listdir(beside)) > 1:
            raise unsupported(model, "its weights are in a file of their own: "
                              "they are too large for one of ONNX",
                              "export to a .tn file")
        else:
            os.replace(onnx, path)
