"""A PyTorch model as a case: its ONNX file, rows, PyTorch's own answers, and the
line of the manifest. What export_torch.py and export_streams.py share.
"""
import argparse
import pathlib

import numpy as np
import torch

import recording


def start(seed):
    """The command line's arguments; what is drawn from now on is by the seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return args


def write(out, name, model, x, *, opset=13, fixed=False, unfolded=False,
          time=None):
    """Writes NAME.onnx and NAME.rec of the rows x; returns the line.

    fixed: the file is of one row, not of any number; unfolded: batch norms
    stay apart; time: the dim that is left open, too, of x and of y.
    """
    path = out / f"{name}.onnx"
    axes = {key: {0: "batch", **({time: "time"} if time else {})}
            for key in "xy"}
    torch.onnx.export(
        model, x[:1 if fixed else 2], str(path), input_names=["x"],
        output_names=["y"], opset_version=opset,
        dynamic_axes=None if fixed else axes,
        do_constant_folding=not unfolded,
        training=torch.onnx.TrainingMode.PRESERVE if unfolded
        else torch.onnx.TrainingMode.EVAL)
    with torch.no_grad():
        y = model(x).numpy()
    rows = recording.rows_of([x.numpy()], [0]).astype(np.float32)
    answers = [("value", y.reshape(len(y), -1))]
    recording.write(out / f"{name}.rec", rows, answers)
    return recording.manifest_line(out, name, answers, 3e-5)


def finish(args, source, lines):
    """Puts the lines into the manifest, under what they are from."""
    recording.add_to_manifest(args.out, f"# {source} {torch.__version__}",
                              lines)
    print(f"{len(lines)} models")
