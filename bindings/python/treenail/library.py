"""Compiled libraries in Python: `Library` predicts, `Stream` takes a sequence one
time step at a time. ctypes over the tables that a library exports (runtime/abi.h,
abi_stream.h): nothing is compiled here, and a call costs some microseconds more
than in C.

Loading a library runs its code: load only what you trust."""
import ctypes
import os

import numpy as np

ABI_VERSION = 2
SCRATCH_ALIGN = 64
STATUS = {1: "no output has that index", 2: "the scratch is misaligned",
          3: "this CPU has no ISA level that the library holds",
          4: "the state is misaligned"}
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)]

_u32, _u64, _i64 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64
_text, _at = ctypes.c_char_p, ctypes.c_void_p


class _Column(ctypes.Structure):
    _fields_ = [("name", _text), ("kind", _u32), ("n_elements", _u32),
                ("n_categories", _u32), ("categories", ctypes.POINTER(_text))]


class _Output(ctypes.Structure):
    _fields_ = [("name", _text), ("dtype", _u32), ("n_elements", _u32),
                ("n_labels", _u32), ("labels", ctypes.POINTER(_text)),
                ("max_ulp", ctypes.c_double)]


_predict = ctypes.CFUNCTYPE(ctypes.c_int, _u32, _at, _u64, _i64, _i64, _at, _at)
_predict_one = ctypes.CFUNCTYPE(ctypes.c_int, _u32, _at, _at, _at)


class _Model(ctypes.Structure):
    _fields_ = [("abi_version", _u32), ("struct_size", _u32), ("name", _text),
                ("compiler", _text), ("source_format", _text),
                ("source_sha256", _text), ("target", _text),
                ("strategy", _text), ("row_strategy", _text),
                ("n_elements", _u32), ("n_columns", _u32),
                ("columns", ctypes.POINTER(_Column)), ("n_outputs", _u32),
                ("n_isa", _u32), ("outputs", ctypes.POINTER(_Output)),
                ("isa", ctypes.POINTER(_text)), ("scratch_bytes", _u64),
                ("stack_bytes", _u64), ("predict_f32", _predict),
                ("predict_f64", _predict), ("predict_one_f32", _predict_one),
                ("predict_one_f64", _predict_one), ("isa_level", _at),
                ("isa_limit", _at), ("n_golden", _u32), ("batch_ns", _u32),
                ("golden_rows", _at), ("golden_out", _at),
                ("golden_dtype", _u32)]


class _StepOutput(ctypes.Structure):
    _fields_ = [("outer", _u32), ("inner", _u32), ("n_steps", _u32),
                ("first_step", _u32)]


_init = ctypes.CFUNCTYPE(None, _at)
_step = ctypes.CFUNCTYPE(ctypes.c_int, _u32, _at, _at, _at, _at)
_steps = ctypes.CFUNCTYPE(ctypes.c_int, _u32, _at, _at, _u64, _i64, _at, _at)
_start = ctypes.CFUNCTYPE(ctypes.c_int, _at, _at, _at)


class _StreamTable(ctypes.Structure):
    _fields_ = [("struct_size", _u32), ("n_steps", _u32), ("n_elements", _u32),
                ("row_start", _u32), ("row_outer", _u32), ("row_inner", _u32),
                ("state_bytes", _u64), ("scratch_bytes", _u64),
                ("outputs", ctypes.POINTER(_StepOutput)),
                ("state_init", _init), ("step_f32", _step), ("step_f64", _step),
                ("steps_f32", _steps), ("steps_f64", _steps),
                ("n_start", _u64), ("state_start_f32", _start),
                ("state_start_f64", _start)]


def _memory(n):
    """n bytes at a multiple of 64."""
    room = np.zeros(n + SCRATCH_ALIGN, np.uint8)
    return room[-room.ctypes.data % SCRATCH_ALIGN:][:n]


def _check(status):
    if status:
        raise RuntimeError(STATUS.get(status, f"status {status}"))


def _rows(rows, width, what):
    """As C-ordered rows of f32, if they are of it, else of f64."""
    rows = np.asarray(rows)
    if rows.dtype.kind == "c":
        raise ValueError(f"{what} are real numbers, not {rows.dtype}")
    rows = np.ascontiguousarray(
        rows, np.float32 if rows.dtype == np.float32 else np.float64)
    none = rows.shape == (0, width)
    if not none and (rows.size == 0 or rows.size % width or (
            rows.ndim > 1 and rows.size != width * len(rows))):
        raise ValueError(f"{what} of {width} numbers are expected, not an "
                         f"array of shape {rows.shape}")
    return rows.reshape(-1, width), "f32" if rows.itemsize == 4 else "f64"


class Library:
    """A library that `treenail compile` wrote: a .so file for this machine.

    `name`, `columns` (names), `outputs` (names), `labels` (by output) and
    `isa` say what it is; `streams` whether it was compiled with --streaming."""

    def __init__(self, path):
        self._library = ctypes.CDLL(os.path.abspath(path))
        try:
            self._model = _Model.in_dll(self._library, "treenail_model")
        except ValueError:
            raise OSError(f"{path}: not a library that treenail compiled") \
                from None
        m = self._model
        if m.abi_version != ABI_VERSION or \
                m.struct_size != ctypes.sizeof(_Model):
            raise OSError(f"{path}: its ABI is version {m.abi_version}, "
                          f"{m.struct_size} bytes; this package has "
                          f"{ABI_VERSION}, {ctypes.sizeof(_Model)}")
        self.name = m.name.decode()
        self.n_elements = m.n_elements
        self.columns = [m.columns[i].name.decode()
                        for i in range(m.n_columns)]
        self.outputs = [m.outputs[i].name.decode()
                        for i in range(m.n_outputs)]
        self.labels = {
            name: [m.outputs[i].labels[k].decode()
                   for k in range(m.outputs[i].n_labels)]
            for i, name in enumerate(self.outputs) if m.outputs[i].n_labels}
        self.isa = [m.isa[i].decode() for i in range(m.n_isa)]
        self._table = self._find_stream(path)
        self.streams = self._table is not None

    def _find_stream(self, path):
        try:
            table = _StreamTable.in_dll(self._library, f"{self.name}_stream")
        except ValueError:
            return None
        if table.struct_size != ctypes.sizeof(_StreamTable):
            raise OSError(f"{path}: struct tn_stream has {table.struct_size} "
                          f"bytes; this package has "
                          f"{ctypes.sizeof(_StreamTable)}")
        return table

    def _output(self, output):
        """The index of an output, by name; None is the first."""
        if output is None:
            return 0
        if output not in self.outputs:
            raise ValueError(f"no output is named {output!r}: there are "
                             f"{', '.join(self.outputs)}")
        return self.outputs.index(output)

    def predict(self, rows, output=None):
        """An array [rows][numbers of the output] of rows that are f32 or f64, one
        or more, or none of shape (0, n_elements); the first output, or the one
        of that name."""
        o = self._output(output)
        rows, suffix = _rows(rows, self.n_elements, "rows")
        out = np.empty((len(rows), self._model.outputs[o].n_elements),
                       DTYPES[self._model.outputs[o].dtype])
        scratch = _memory(self._model.scratch_bytes)
        predict = getattr(self._model, f"predict_{suffix}")
        _check(predict(o, rows.ctypes.data, len(rows), self.n_elements, 1,
                       out.ctypes.data, scratch.ctypes.data))
        return out

    def stream(self, start=None):
        """A `Stream` before its first step; see Stream.reset for `start`."""
        if not self.streams:
            raise ValueError(f"{self.name} was compiled without --streaming")
        return Stream(self, start)


class Stream:
    """A sequence that comes in step by step. It has a state of its own: any
    number of streams of one library go on beside each other.

    `n_elements` is how many numbers a step takes, `n_start` how many reset()
    does, `n_steps` how many steps predict() takes."""

    def __init__(self, library, start=None):
        self.library = library
        self._table = library._table
        self.n_elements = self._table.n_elements
        self.n_start = self._table.n_start
        self.n_steps = self._table.n_steps
        self._state = _memory(self._table.state_bytes)
        self._scratch = _memory(self._table.scratch_bytes)
        # Looked up once: each of these takes as long as a small net's step.
        self._places = self._state.ctypes.data, self._scratch.ctypes.data
        self._take = {"f32": self._table.steps_f32,
                      "f64": self._table.steps_f64}
        self._answers = [
            ((p.outer * p.inner,), p.n_steps, DTYPES[o.dtype]) for p, o in
            ((self._table.outputs[i], library._model.outputs[i])
             for i in range(len(library.outputs)))]
        self.reset(start)

    def reset(self, start=None):
        """Goes back before the first step. `start`: the n_start numbers of a row
        that are no steps, as a recurrent layer's first state; default zeros."""
        if start is None:
            self._table.state_init(self._state.ctypes.data)
            return
        if not self.n_start:
            raise ValueError("the model takes nothing besides its steps")
        start, suffix = _rows(start, self.n_start, "a start")
        if len(start) > 1:
            raise ValueError(f"a start is {self.n_start} numbers")
        begin = getattr(self._table, f"state_start_{suffix}")
        _check(begin(self._state.ctypes.data, start.ctypes.data,
                     self._scratch.ctypes.data))

    def step(self, row, output=None):
        """Takes a step; returns what the output is then. Of several outputs, a
        list of names, it is a list."""
        if isinstance(output, (list, tuple)):
            return self._several(self.step, row, output)
        rows, _ = _rows(row, self.n_elements, "a step")
        if len(rows) > 1:
            raise ValueError(f"a step is {self.n_elements} numbers")
        answer = self.steps(rows, output)
        return answer.reshape(answer.shape[-1])

    def _several(self, take, rows, outputs):
        """Of each output, from the same state."""
        before = self.state
        answers = []
        for name in outputs:
            self.state = before
            answers.append(take(rows, name))
        return answers

    def steps(self, rows, output=None):
        """Takes several steps: [steps][n_elements]. Returns [steps][numbers] of
        an output that each step has, else what it is after the last. Of several
        outputs, a list of names, it is a list."""
        if isinstance(output, (list, tuple)):
            return self._several(self.steps, rows, output)
        o = self.library._output(output)
        rows, suffix = _rows(rows, self.n_elements, "steps")
        shape, n_steps, dtype = self._answers[o]
        out = np.empty((len(rows),) + shape if n_steps else shape, dtype)
        state, scratch = self._places
        _check(self._take[suffix](o, state, rows.ctypes.data, len(rows),
                                  self.n_elements, out.ctypes.data, scratch))
        return out

    def copy(self):
        """Another stream, at the same step."""
        other = Stream(self.library)
        other._state[:] = self._state
        return other

    @property
    def state(self):
        """What it remembers, as bytes: to be kept, and set again on a stream of
        the same library (the same file: its bytes say nothing of whose they
        are)."""
        return self._state.tobytes()

    @state.setter
    def state(self, state):
        if len(state) != len(self._state):
            raise ValueError(f"a state of {self.library.name} has "
                             f"{len(self._state)} bytes, not {len(state)}")
        self._state[:] = np.frombuffer(state, np.uint8)
