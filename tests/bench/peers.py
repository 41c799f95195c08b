"""The predictors that are compared: what each is, and how it is called.

A peer is a class in the table at the end. It says what pip installs, which
formats it reads, and in load() how it gets a case's model; then it is called
in one of two ways, whichever costs less:

  entry()   C functions and an adapter of drive.c, so that a call costs what
            it costs a C program
  call()    a Python function of a block of rows, for those whose C interface
            is not in their wheel

Rows are handed over in the type that the peer computes on, so that converting
them is not timed. Answers are what users ask for: probabilities of classifiers
(all classes, or the second of two), else the value.

Each peer is installed in an environment of its own, so imports of peers are
inside functions.
"""
import ctypes
import json
import os
import pickle
import shutil
import subprocess
from importlib import metadata

import numpy as np

from benchlib import compile_model, cpu_seconds, read_header

NUMPY = ["numpy==2.4.6"]
BOOSTERS = ["lightgbm==4.7.0", "xgboost-cpu==3.2.0"]
SKLEARN = ["scikit-learn==1.9.1", "scipy==1.17.1"]


class Unsupported(Exception):
    """The peer cannot run the case; the text says why."""


# ----------------------------------------------------------------- C entry --

class Entry(ctypes.Structure):
    """struct entry of drive.c."""
    _fields_ = [("call", ctypes.c_void_p), ("many", ctypes.c_void_p),
                ("one", ctypes.c_void_p), ("context", ctypes.c_void_p * 2),
                ("text", ctypes.c_char_p), ("width", ctypes.c_long),
                ("row_bytes", ctypes.c_long), ("out_bytes", ctypes.c_long),
                ("output", ctypes.c_int), ("shape", ctypes.c_void_p),
                ("out_shape", ctypes.c_void_p), ("rank", ctypes.c_long),
                ("out_rank", ctypes.c_long), ("own_rows", ctypes.c_void_p),
                ("own_out", ctypes.c_void_p)]


def load_driver():
    """drive.c as a library; the harness has compiled it."""
    driver = ctypes.CDLL(os.environ["BENCH_DRIVER"])
    driver.drive.restype = ctypes.c_double
    driver.drive.argtypes = [
        ctypes.POINTER(Entry), ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p,
        ctypes.c_long, ctypes.c_int, ctypes.c_double]
    return driver


def address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def aligned(n_bytes):
    """Zeros at a multiple of 64: the array that owns them, and where."""
    room = np.zeros(n_bytes + 64, np.uint8)
    return room, (room.ctypes.data + 63) // 64 * 64


# -------------------------------------------------------------------- Peer --

class Peer:
    label = ""       # as tables have it
    package = ""     # whose version is shown
    requires = []    # what pip installs
    reads = ()       # formats of cases
    dtype = np.float32
    environment = ""  # its own, unless it shares another's
    needs = ""       # a module of the system's Python, see harness.py
    adapter = None   # the function of drive.c, if it has a C entry
    splits = False   # whether a second thread is the caller's to bring
    compiles = False  # whether loading makes native code
    keeps = False     # and open() can use what an earlier run compiled

    def version(self):
        return metadata.version(self.package)

    def load(self, case, facts, work, sample):
        """Gets the model; `sample` is some of the rows. What it cost to
        compile is kept with the compiled code."""
        if facts["format"] not in self.reads:
            raise Unsupported(f"reads no {facts['format']} models")
        self.facts, self.task = facts, facts["task"]
        note = work / f"compiled-{self.version()}.json"
        self.is_kept = self.keeps and note.exists() and \
            note.stat().st_mtime > (case / "case.json").stat().st_mtime
        start = cpu_seconds()
        made = self.open(case, work, sample) or {}
        if self.is_kept:
            return json.loads(note.read_text())
        if self.compiles:
            made.setdefault("compile_seconds", cpu_seconds() - start)
        if self.keeps:
            note.write_text(json.dumps(made))
        return made

    def open(self, case, work, sample):
        """Facts of what was compiled. With self.is_kept, `work` has it."""
        raise NotImplementedError

    def call(self, threads):
        raise NotImplementedError

    def entry(self, threads):
        """Fields of an Entry, plus "out": type and numbers of an answer."""
        raise NotImplementedError

    # -- what the worker uses --

    def c_entry(self, batch, threads):
        return self.adapter is not None

    def python_call(self, batch, threads):
        return self.call(threads)

    def drive(self, rows, batch, threads, seconds=0.0):
        """Nanoseconds a row, and the answers."""
        fields = self.entry(threads)
        dtype, n_out = fields.pop("out")
        driver = load_driver()
        out = np.empty((len(rows), n_out), dtype)
        entry = Entry(call=address(getattr(driver, self.adapter)),
                      width=rows.shape[1], row_bytes=rows.strides[0],
                      out_bytes=out.strides[0],
                      **{k: v for k, v in fields.items() if k != "context"})
        for i, context in enumerate(fields.get("context", [])):
            entry.context[i] = context
        spent = driver.drive(entry, rows.ctypes.data, len(rows),
                             out.ctypes.data, batch,
                             self.splits and threads > 1, seconds)
        if spent < 0:
            raise RuntimeError("a call failed")
        return spent * 1e9, out[:, 0] if n_out == 1 else out

    def n_out(self):
        """Numbers of an answer: one but for several classes."""
        return self.facts["classes"] if self.task == "multiclass" else 1


# ---------------------------------------------------------------- treenail --

class Treenail(Peer):
    label = "treenail"
    requires = NUMPY
    reads = ("lightgbm", "xgboost", "catboost", "sklearn")
    adapter, compiles = "call_treenail", True
    pool = None  # of treenail's runtime, for two threads
    files = {"lightgbm": "model.txt", "xgboost": "model.json",
             "catboost": "model.json", "sklearn": "model.tn"}

    def version(self):
        out = subprocess.run([os.environ["TREENAIL"], "--version"], text=True,
                             stdout=subprocess.PIPE, check=True).stdout
        return out.split()[-1]

    def open(self, case, work, sample):
        library = work / "m.so"
        seconds, peak = compile_model(
            os.environ["TREENAIL"], case / self.files[self.facts["format"]],
            library)
        scratch, self.outputs = read_header(work / "m.h")
        self.library = ctypes.CDLL(str(library))
        self.scratch = aligned(scratch)
        return {"compile_seconds": seconds, "compile_peak_bytes": peak,
                "bytes": library.stat().st_size}

    def entry(self, threads):
        name = "value"
        if self.task != "regression" and "probability" in self.outputs:
            name = "probability"
        index, n_out, dtype = self.outputs[name]
        fields = {"output": index, "out": (dtype, n_out)}
        self.adapter = "call_treenail" if threads == 1 else \
            "call_treenail_pool"
        if threads > 1:
            model = ctypes.c_char.in_dll(self.library, "m_model")
            return {"many": ctypes.addressof(model),
                    "context": [self.threads(threads)], **fields}
        return {"many": address(self.library.m_predict_f32),
                "one": address(self.library.m_predict_one_f32),
                "context": [self.scratch[1]], **fields}

    def threads(self, n):
        if not self.pool:
            driver = load_driver()
            driver.rt_pool_new.restype = ctypes.c_void_p
            self.pool = driver.rt_pool_new(n)
        return self.pool


# -------------------------------------------------------------- frameworks --

class LightGBM(Peer):
    """LGBM_BoosterPredictForMat, and ...SingleRowFast for one row."""
    label, package = "LightGBM", "lightgbm"
    requires = BOOSTERS[:1] + NUMPY
    reads = ("lightgbm",)
    adapter = "call_lightgbm"

    def open(self, case, work, sample):
        import lightgbm
        self.booster = lightgbm.Booster(model_file=case / "model.txt")
        self.library = lightgbm.basic._LIB
        self.fast = {}

    def fast_config(self, threads):
        """The handle of ...SingleRowFastInit."""
        if threads not in self.fast:
            config = ctypes.c_void_p()
            status = self.library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self.booster._handle, 0, 0, -1, 0,
                ctypes.c_int32(self.facts["features"]),
                f"num_threads={threads}".encode(), ctypes.byref(config))
            if status:
                raise RuntimeError("SingleRowFastInit failed")
            self.fast[threads] = config.value
        return self.fast[threads]

    def entry(self, threads):
        library = self.library
        return {"many": address(library.LGBM_BoosterPredictForMat),
                "one": address(library.LGBM_BoosterPredictForMatSingleRowFast),
                "context": [self.booster._handle.value,
                            self.fast_config(threads)],
                "text": f"num_threads={threads}".encode(),
                "out": (np.float64, self.n_out())}


class XGBoost(Peer):
    """XGBoosterPredictFromDense: in place, without a DMatrix."""
    label, package = "XGBoost", "xgboost-cpu"
    requires = BOOSTERS[1:] + NUMPY + SKLEARN[1:]
    reads = ("xgboost",)
    adapter = "call_xgboost"

    def open(self, case, work, sample):
        import xgboost
        self.booster = xgboost.Booster(model_file=case / "model.json")
        self.library = xgboost.core._LIB

    def entry(self, threads):
        self.booster.set_param({"nthread": threads})
        return {"many": address(self.library.XGBoosterPredictFromDense),
                "context": [self.booster.handle.value],
                "text": json.dumps({
                    "type": 0, "training": False, "iteration_begin": 0,
                    "iteration_end": 0, "strict_shape": False,
                    "cache_id": 0, "missing": float("nan")}).encode(),
                "out": (np.float32, self.n_out())}


class CatBoost(Peer):
    """predict of a matrix: the wheel has no C interface."""
    label, package = "CatBoost", "catboost"
    requires = ["catboost==1.2.10"] + NUMPY
    reads = ("catboost",)

    def open(self, case, work, sample):
        import catboost
        self.model = catboost.CatBoost().load_model(str(case / "model.cbm"))

    def call(self, threads):
        kind = "RawFormulaVal" if self.task == "regression" else "Probability"
        predict = self.model.predict
        return lambda rows: predict(rows, kind, thread_count=threads)


class Sklearn(Peer):
    """predict or predict_proba."""
    label, package = "scikit-learn", "scikit-learn"
    requires = SKLEARN + NUMPY
    reads = ("sklearn",)

    def open(self, case, work, sample):
        from threadpoolctl import ThreadpoolController
        self.model = pickle.loads((case / "model.pkl").read_bytes())
        self.model.predict(sample[:1])  # loads what has threads
        self.pools = ThreadpoolController()

    def call(self, threads):
        self.limit = self.pools.limit(limits=threads)
        if hasattr(self.model, "n_jobs"):
            self.model.n_jobs = threads
        return self.model.predict if self.task == "regression" \
            else self.model.predict_proba


# ---------------------------------------------------------------- compilers --

class Tl2cgen(Peer):
    """predict() of the compiled code, one row a call, as its own predictor
    calls it."""
    label, package = "tl2cgen -O3", "tl2cgen"
    requires = ["tl2cgen==1.0.0", "treelite==4.8.1"] + SKLEARN + NUMPY
    reads = ("lightgbm", "xgboost", "sklearn")
    splits, compiles, keeps = True, True, True

    def open(self, case, work, sample):
        library = work / "m.so"
        start = cpu_seconds()
        if not self.is_kept:
            import tl2cgen
            tl2cgen.export_lib(
                self.read(case), toolchain="gcc", libpath=library, nthread=2,
                params={"parallel_comp": max(2, self.facts["leaves"] // 2000),
                        "quantize": 0},
                options=["-O3", "-march=native"])
        seconds = cpu_seconds() - start
        self.library = ctypes.CDLL(str(library))
        self.library.get_threshold_type.restype = ctypes.c_char_p
        self.library.get_leaf_output_type.restype = ctypes.c_char_p
        types = self.library.get_threshold_type().decode()
        self.adapter = "call_tl2cgen_" + types.replace("float", "f")
        self.out = np.dtype(self.library.get_leaf_output_type().decode())
        missing = np.zeros(self.facts["features"], types)
        missing.view(np.int32)[:] = -1
        self.rows = [missing.copy() for _ in range(2)]
        return {"compile_seconds": seconds, "bytes": library.stat().st_size}

    def read(self, case):
        import treelite
        form = self.facts["format"]
        if form == "lightgbm":
            return treelite.frontend.load_lightgbm_model(case / "model.txt")
        if form == "xgboost":
            return treelite.frontend.load_xgboost_model(case / "model.json")
        model = pickle.loads((case / "model.pkl").read_bytes())
        return treelite.sklearn.import_model(model)

    def entry(self, threads):
        return {"many": address(self.library.predict),
                "context": [row.ctypes.data for row in self.rows],
                "out": (self.out, self.n_out())}


class Lleaves(Peer):
    """forest_root of the compiled code. For one row the blocks of trees are
    turned off, as its documentation advises."""
    label, package = "lleaves", "lleaves"
    requires = ["lleaves==1.3.0", "llvmlite==0.44.0"] + NUMPY
    reads = ("lightgbm",)
    dtype = np.float64
    adapter, splits, compiles, keeps = "call_lleaves", True, True, True

    def open(self, case, work, sample):
        start = cpu_seconds()
        self.many = self.compile(case, work / "many.o")
        seconds = cpu_seconds() - start
        self.one = self.many
        # Twice as long would be unfair to the others.
        if seconds < 60 and (not self.is_kept or (work / "one.o").exists()):
            self.one = self.compile(case, work / "one.o",
                                    fblocksize=self.facts["trees"])
        return {"compile_seconds": seconds,
                "bytes": (work / "many.o").stat().st_size}

    def compile(self, case, path, **options):
        import lleaves
        if not self.is_kept:
            path.unlink(missing_ok=True)
        model = lleaves.Model(str(case / "model.txt"))
        model.compile(cache=path, **options)
        return model

    def entry(self, threads):
        return {"many": address(self.many._c_entry_func),
                "one": address(self.one._c_entry_func),
                "out": (np.float64, self.n_out())}


class Lgbmjit(Peer):
    label, package = "lgbmjit", "lgbmjit"
    requires = ["lgbmjit"] + NUMPY
    reads = ("lightgbm",)
    dtype = np.float64
    compiles = True

    def open(self, case, work, sample):
        import lgbmjit
        self.model = lgbmjit.Model(str(case / "model.txt"))

    def call(self, threads):
        predict = self.model.predict
        return lambda rows: predict(rows, num_threads=threads)


class Pylignum(Peer):
    """predict of its compiled trees, or of its interpreter where its autotune
    finds that faster. It compiles no CatBoost models."""
    label, package = "pylignum", "pylignum"
    requires = ["pylignum==0.3.0"] + NUMPY
    reads = ("lightgbm", "xgboost", "catboost")
    dtype = np.float64
    compiles, keeps = True, True

    def open(self, case, work, sample):
        import lignum
        name = {"lightgbm": "model.txt", "xgboost": "model.json",
                "catboost": "model.cbm"}[self.facts["format"]]
        library = work / "m.so"
        if self.facts["format"] == "catboost":
            self.model = lignum.load(str(case / name))
            return {"compile_seconds": None}
        self.model = lignum.load(
            str(case / name), **({"compiled": library} if self.is_kept else {}))
        start = cpu_seconds()
        if not self.is_kept:
            self.model.compile(library=library, work_dir=str(work), jobs=2)
        seconds = cpu_seconds() - start
        self.model.autotune(sample, n_jobs=1)
        return {"compile_seconds": seconds, "bytes": library.stat().st_size}

    def call(self, threads):
        predict = self.model.predict
        return lambda rows: predict(rows, n_jobs=threads)


class Timber(Peer):
    """timber_infer and timber_infer_single of the compiled code."""
    label, package = "timber", "timber-compiler"
    requires = ["timber-compiler==0.6.0"] + SKLEARN + NUMPY
    reads = ("lightgbm", "xgboost", "catboost", "sklearn")
    adapter, splits, compiles, keeps = "call_timber", True, True, True
    files = {"lightgbm": "model.txt", "xgboost": "model.json",
             "catboost": "model.json", "sklearn": "model.pkl"}

    def open(self, case, work, sample):
        from timber.runtime.predictor import TimberPredictor
        if self.is_kept:
            self.model = TimberPredictor.from_artifact(work / "artifact")
            return None
        start = cpu_seconds()
        self.model = TimberPredictor.from_model(
            str(case / self.files[self.facts["format"]]))
        seconds = cpu_seconds() - start
        shutil.copytree(self.model._lib_path.parent, work / "artifact",
                        dirs_exist_ok=True)
        return {"compile_seconds": seconds,
                "bytes": os.path.getsize(self.model._lib_path)}

    def entry(self, threads):
        library = self.model._lib
        return {"many": address(library.timber_infer),
                "one": address(library.timber_infer_single),
                "context": [self.model._ctx.value] * 2,
                "out": (np.float32, self.model.n_outputs)}


# ----------------------------------------------------------------- runtimes --

class OnnxRuntime(Peer):
    """OrtApi.Run of what the framework's converter makes. The wheel has the
    library but not its header; the places of functions in its table are part
    of its ABI."""
    label, package = "ONNX Runtime", "onnxruntime"
    requires = ["onnxruntime==1.31.1", "onnx==1.23.2", "onnxmltools==1.16.0",
                "skl2onnx==1.20.0"] + BOOSTERS + SKLEARN + NUMPY
    reads = ("lightgbm", "xgboost", "catboost", "sklearn")
    adapter = "call_onnxruntime"
    functions = {"CreateEnv": 3, "CreateSession": 7,
                 "CreateSessionOptions": 10, "SetIntraOpNumThreads": 24,
                 "CreateCpuMemoryInfo": 69}

    def open(self, case, work, sample):
        import onnx
        path = str(work / "model.onnx")
        model = self.convert(case)
        drop_zipmap(model.graph)
        onnx.save(model, path)
        output = model.graph.output[-1]
        self.names = f"{model.graph.input[0].name}\0{output.name}".encode()
        self.n = 2 if self.task == "binary" else self.n_out()
        self.api = self.load_api()
        self.memory = self.make("CreateCpuMemoryInfo", 0, 0)
        self.sessions = {n: self.session(path.encode(), n) for n in (1, 2)}

    def load_api(self):
        """The table of functions."""
        folder = metadata.distribution("onnxruntime").locate_file(
            "onnxruntime/capi")
        path, = folder.glob("libonnxruntime.so.*")
        library = ctypes.CDLL(str(path))
        library.OrtGetApiBase.restype = ctypes.POINTER(ctypes.c_void_p)
        get_api = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p),
                                   ctypes.c_uint32)
        return get_api(library.OrtGetApiBase()[0])(17)

    def invoke(self, name, *args):
        function = ctypes.CFUNCTYPE(ctypes.c_void_p)(
            self.api[self.functions[name]])
        if function(*args):
            raise RuntimeError(f"{name} failed")

    def make(self, name, *args):
        made = ctypes.c_void_p()
        self.invoke(name, *args, ctypes.byref(made))
        return made

    def session(self, path, threads):
        options = self.make("CreateSessionOptions")
        self.invoke("SetIntraOpNumThreads", options, threads)
        environment = self.make("CreateEnv", 3, b"bench")
        return self.make("CreateSession", environment, path, options)

    def convert(self, case):
        form, width = self.facts["format"], self.facts["features"]
        if form == "catboost":
            import onnx
            return onnx.load(case / "model.onnx")
        if form == "sklearn":
            import skl2onnx
            model = pickle.loads((case / "model.pkl").read_bytes())
            return skl2onnx.to_onnx(model, np.zeros((1, width), np.float32))
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType
        inputs = [("x", FloatTensorType([None, width]))]
        if form == "lightgbm":
            import lightgbm
            return onnxmltools.convert_lightgbm(
                lightgbm.Booster(model_file=case / "model.txt"),
                initial_types=inputs)
        import xgboost
        return onnxmltools.convert_xgboost(
            xgboost.Booster(model_file=case / "model.json"),
            initial_types=inputs)

    def entry(self, threads):
        return {"many": ctypes.cast(self.api, ctypes.c_void_p).value,
                "context": [self.sessions[threads].value, self.memory.value],
                "text": self.names, "out": (np.float32, self.n)}


def drop_zipmap(graph):
    """Answers a tensor of probabilities, not a dictionary a row."""
    for node in list(graph.node):
        if node.op_type == "ZipMap":
            graph.node.remove(node)
            del graph.output[-1]
            graph.output.add(name=node.input[0])


class Ydf(Peer):
    """predict of what ydf.from_sklearn converts; Python only."""
    label, package = "YDF", "ydf"
    requires = ["ydf==0.16.1"] + SKLEARN + NUMPY
    reads = ("sklearn",)

    def open(self, case, work, sample):
        import ydf
        model = pickle.loads((case / "model.pkl").read_bytes())
        self.model = ydf.from_sklearn(model)

    def call(self, threads):
        predict = self.model.predict
        return lambda rows: predict({"features": rows}, num_threads=threads)


class Daal4py(Peer):
    """predict of what daal4py.mb.convert_model makes; Python only. A forest
    of scikit-learn's would have to be fitted again by oneDAL."""
    label, package = "oneDAL (daal4py)", "scikit-learn-intelex"
    requires = ["scikit-learn-intelex==2026.2.0", "catboost==1.2.10"] + \
        BOOSTERS + SKLEARN + NUMPY
    reads = ("lightgbm", "xgboost", "catboost")

    def open(self, case, work, sample):
        import daal4py.mb
        if self.facts["categorical"]:
            raise Unsupported("converts no categorical splits")
        self.model = daal4py.mb.convert_model(self.read(case))

    def read(self, case):
        form = self.facts["format"]
        if form == "lightgbm":
            import lightgbm
            return lightgbm.Booster(model_file=case / "model.txt")
        if form == "xgboost":
            import xgboost
            return xgboost.Booster(model_file=case / "model.json")
        import catboost
        return catboost.CatBoost().load_model(str(case / "model.cbm"))

    def call(self, threads):
        import daal4py
        daal4py.daalinit(threads)
        return self.model.predict if self.task == "regression" \
            else self.model.predict_proba


class Hummingbird(Peer):
    """predict of its TorchScript back end; PyTorch is the system's, as PyPI's
    for Linux brings gigabytes for GPUs."""
    label, package = "Hummingbird", "hummingbird-ml"
    requires = ["hummingbird-ml==0.4.12"] + BOOSTERS + SKLEARN[:1] + \
        ["scipy==1.15.3", "numpy==1.26.4"]
    needs = "torch"
    reads = ("lightgbm", "xgboost", "sklearn")

    def open(self, case, work, sample):
        from hummingbird.ml import convert
        form = self.facts["format"]
        if form == "lightgbm":
            import lightgbm
            model = lightgbm.Booster(model_file=case / "model.txt")
        elif form == "xgboost":
            import xgboost
            model = (xgboost.XGBRegressor if self.task == "regression"
                     else xgboost.XGBClassifier)()
            model.load_model(case / "model.json")
        else:
            model = pickle.loads((case / "model.pkl").read_bytes())
        self.model = convert(model, "torch.jit", np.array(sample[:16]))

    def call(self, threads):
        import torch
        torch.set_num_threads(threads)
        model = self.model
        return model.predict if self.task == "regression" \
            else model.predict_proba


PEERS = {
    "treenail": Treenail,
    "lightgbm": LightGBM,
    "xgboost": XGBoost,
    "catboost": CatBoost,
    "sklearn": Sklearn,
    "onnxruntime": OnnxRuntime,
    "tl2cgen": Tl2cgen,
    "lleaves": Lleaves,
    "lgbmjit": Lgbmjit,
    "pylignum": Pylignum,
    "timber": Timber,
    "ydf": Ydf,
    "daal4py": Daal4py,
    "hummingbird": Hummingbird,
}
