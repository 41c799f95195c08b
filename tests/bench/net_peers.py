"""Those that run nets: what each is, and how it is called. See peers.py.

All get the same ONNX file; where a peer compiles for one size of the batch it
gets the file of that size and compiles once for each. Each is told to use one
thread and f32.
"""
import ctypes
import os
import pathlib
import subprocess
import sys

import numpy as np

import peers
from benchlib import cpu_seconds
from peers import NUMPY, Peer, address

ONNX = ["onnx==1.23.2"]


class NetPeer(Peer):
    """Rows are the numbers of a row's tensor, side by side."""
    reads = ("onnx",)

    def open(self, case, work, sample):
        """Of each batch self.nets gets what build() answers; what is said of
        compiling is the first's."""
        self.nets, made = {}, None
        for batch in self.facts["batches"]:
            start = cpu_seconds()
            self.nets[batch] = self.build(case / f"batch-{batch}.onnx", batch,
                                          work, sample[:batch])
            made = made or {"compile_seconds": cpu_seconds() - start
                            if self.compiles and not self.is_kept else None,
                            **self.sizes(work, batch)}
        return made

    def build(self, path, batch, work, sample):
        raise NotImplementedError

    def sizes(self, work, batch):
        return {}

    # The batch decides which net is called.

    def drive(self, rows, batch, threads, seconds=0.0):
        self.batch = batch
        return super().drive(rows, batch, threads, seconds)

    def python_call(self, batch, threads):
        return self.nets[batch]

    def n_out(self):
        return int(np.prod(self.facts["output"]))

    def shaped(self, batch):
        return [batch, *self.facts["input"]]


# ------------------------------------------------------------- called from C --

class Treenail(peers.Treenail):
    """One library for every batch."""
    reads = ("onnx",)
    files = {"onnx": "model.onnx"}


class OnnxRuntime(NetPeer, peers.OnnxRuntime):
    """OrtApi.Run, whose tensors are the caller's memory; all optimisations."""
    requires = ["onnxruntime==1.31.1"] + ONNX + NUMPY
    adapter = "call_onnxruntime_net"
    reads = ("onnx",)

    def open(self, case, work, sample):
        import onnx
        graph = onnx.load(case / "model.onnx").graph
        self.names = f"{graph.input[0].name}\0{graph.output[0].name}".encode()
        self.api = self.load_api()
        self.memory = self.make("CreateCpuMemoryInfo", 0, 0)
        path = str(case / "model.onnx").encode()
        self.handle = self.session(path, 1)

    def entry(self, threads):
        def shape(sizes):
            return (ctypes.c_int64 * (1 + len(sizes)))(0, *sizes)
        self.shapes = [shape(self.facts[s]) for s in ("input", "output")]
        return {"many": ctypes.cast(self.api, ctypes.c_void_p).value,
                "context": [self.handle.value, self.memory.value],
                "text": self.names, "out": (np.float32, self.n_out()),
                "shape": address(self.shapes[0]),
                "out_shape": address(self.shapes[1]),
                "rank": len(self.shapes[0]),
                "out_rank": len(self.shapes[1])}


class OpenVino(NetPeer):
    """ov_infer_request_infer, latency mode, compiled for each batch."""
    label, package = "OpenVINO", "openvino"
    requires = ["openvino==2026.4.1"] + NUMPY
    adapter, compiles = "call_own_memory", True
    options = {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1",
               "PERFORMANCE_HINT": "LATENCY",
               "INFERENCE_PRECISION_HINT": "f32",
               "ENABLE_CPU_PINNING": "NO"}

    def build(self, path, batch, work, sample):
        import openvino  # loads the libraries that the C one needs
        folder = pathlib.Path(openvino.__file__).parent / "libs"
        library, = folder.glob("libopenvino_c.so.*")
        self.library = ctypes.CDLL(str(library))
        core, model, request = [ctypes.c_void_p() for _ in range(3)]
        self.must("ov_core_create", ctypes.byref(core))
        for key, value in self.options.items():
            self.must("ov_core_set_property", core, b"CPU", key.encode(),
                      value.encode())
        self.must("ov_core_compile_model_from_file", core, str(path).encode(),
                  b"CPU", ctypes.c_size_t(0), ctypes.byref(model))
        self.must("ov_compiled_model_create_infer_request", model,
                  ctypes.byref(request))
        return (request.value, self.memory(request, "input"),
                self.memory(request, "output"))

    def must(self, name, *args):
        status = getattr(self.library, name)(*args)
        if status:
            self.library.ov_get_last_err_msg.restype = ctypes.c_char_p
            text = self.library.ov_get_last_err_msg() or b""
            raise RuntimeError(f"{name}: {status} {text.decode()}")

    def memory(self, request, side):
        tensor, data = ctypes.c_void_p(), ctypes.c_void_p()
        self.must(f"ov_infer_request_get_{side}_tensor", request,
                  ctypes.byref(tensor))
        self.must("ov_tensor_data", tensor, ctypes.byref(data))
        return data.value

    def entry(self, threads):
        request, own_rows, own_out = self.nets[self.batch]
        return {"many": address(self.library.ov_infer_request_infer),
                "context": [request], "own_rows": own_rows,
                "own_out": own_out, "out": (np.float32, self.n_out())}


class Emx(NetPeer):
    """The function that gcc compiles of its C; weights are constants."""
    label, package = "emx-onnx-cgen -O3", "emx-onnx-cgen"
    requires = ["emx-onnx-cgen==1.4.0"] + ONNX + NUMPY
    adapter, compiles, keeps = "call_plain", True, True
    environment = "emx"
    options = ["-O3", "-march=native"]

    def build(self, path, batch, work, sample):
        library = work / f"net-{batch}.so"
        if not self.is_kept:
            code = work / f"net-{batch}.c"
            subprocess.run([
                sys.executable, "-m", "emx_onnx_cgen", "compile",
                "--model-name", "net", "--large-weight-threshold", "0",
                "--large-temp-threshold", "100000", path, code], check=True)
            subprocess.run(["gcc", *self.options, "-shared", "-fPIC", code,
                            "-o", library, "-lm"], check=True)
        return ctypes.CDLL(str(library)).net

    def sizes(self, work, batch):
        return {"bytes": (work / f"net-{batch}.so").stat().st_size}

    def entry(self, threads):
        return {"many": address(self.nets[self.batch]),
                "out": (np.float32, self.n_out())}


class EmxFast(Emx):
    """Sums in any order, which -O3 alone does not vectorise."""
    label = "emx-onnx-cgen -O3 -ffast-math"
    options = Emx.options + ["-ffast-math"]


# -------------------------------------------------------- called from Python --

class PythonNet(NetPeer):
    """self.nets has a function of rows for each batch."""

    def python_call(self, batch, threads):
        call, shape = self.nets[batch], self.shaped(batch)
        return lambda rows: call(rows.reshape(shape))


class Torch(PythonNet):
    """PyTorch's own layers, in inference mode. PyPI's wheel for Linux has
    code for GPUs and needs gigabytes."""
    label, package, environment = "PyTorch", "torch", "torch"
    requires = ["torch==2.15.0"] + ONNX + NUMPY

    def build(self, path, batch, work, sample):
        import net_torch
        import torch
        torch.set_num_threads(1)
        module = self.prepare(torch, net_torch.load(path))

        def call(rows):
            with torch.inference_mode():
                return module(torch.from_numpy(rows)).numpy()
        call(sample.reshape(self.shaped(batch)))
        return call

    def prepare(self, torch, module):
        return module


class TorchCompile(Torch):
    """torch.compile: Inductor, whose C++ the system's compiler compiles, with
    weights as constants. It leaves recurrent layers as they are."""
    label = "torch.compile"
    compiles = True

    def prepare(self, torch, module):
        import torch._inductor.config
        torch._inductor.config.freezing = True
        torch._inductor.config.force_disable_caches = True
        return torch.compile(module, dynamic=False)


class Iree(PythonNet):
    """IREE's LLVM back end for this CPU, run on the caller's thread."""
    label, package = "IREE", "iree-base-compiler"
    requires = ["iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0"] + \
        ONNX + NUMPY
    compiles, keeps = True, True
    options = ["--iree-hal-target-device=local",
               "--iree-hal-local-target-device-backends=llvm-cpu",
               "--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3"]

    def build(self, path, batch, work, sample):
        import iree.runtime
        made = work / f"net-{batch}.vmfb"
        if not self.is_kept:
            text = work / f"net-{batch}.mlir"
            tools = pathlib.Path(sys.executable).parent
            subprocess.run([tools / "iree-import-onnx", path, "-o", text],
                           check=True)
            subprocess.run([tools / "iree-compile", text, "-o", made,
                            *self.options], check=True)
        module = iree.runtime.load_vm_flatbuffer_file(
            str(made), driver="local-sync")
        function = module["net"]
        return lambda rows: function(rows).to_host()

    def sizes(self, work, batch):
        return {"bytes": (work / f"net-{batch}.vmfb").stat().st_size}


class Tvm(PythonNet):
    """Relax's virtual machine, by the schedules that it has without a search:
    its tuners need minutes a net."""
    label, package = "TVM, not tuned", "apache-tvm"
    requires = ["apache-tvm==0.27.0.post1"] + ONNX + NUMPY
    compiles = True

    def build(self, path, batch, work, sample):
        os.environ["TVM_NUM_THREADS"] = "1"
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx
        target = tvm.target.Target({
            "kind": "llvm", "num-cores": 1,
            "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
        made = relax.build(from_onnx(onnx.load(path)), target=target)
        function = relax.VirtualMachine(made, tvm.cpu())["main"]
        self.tensor = tvm.runtime.tensor
        return lambda rows: function(self.tensor(rows)).numpy()


class LiteRt(PythonNet):
    """The interpreter, whose floats XNNPACK computes, of what onnx2tf
    converts; its images come with channels first, as everybody's."""
    label, package = "LiteRT (XNNPACK)", "ai-edge-litert"
    requires = ["onnx2tf==1.29.24"]  # which pins LiteRT and what else it needs
    keeps = True

    def build(self, path, batch, work, sample):
        from ai_edge_litert.interpreter import Interpreter
        folder = work / f"net-{batch}"
        if not self.is_kept:
            self.convert(path, folder, batch)
        file, = folder.glob("*float32.tflite")
        net = Interpreter(model_path=str(file), num_threads=1)
        net.allocate_tensors()
        self.loaded = getattr(self, "loaded", []) + [net]
        at, to = [d[0]["index"] for d in (net.get_input_details(),
                                          net.get_output_details())]

        def call(rows):
            net.set_tensor(at, rows)
            net.invoke()
            return net.get_tensor(to)
        return call

    def convert(self, path, folder, batch):
        import onnx
        import onnx2tf
        model = onnx.load(path)
        channels_first = any(n.op_type == "Conv" for n in model.graph.node)
        keep = "keep_ncw_or_nchw_or_ncdhw_input_names" if channels_first \
            else "keep_shape_absolutely_input_names"
        keep = {keep: ["x"]} if len(self.facts["input"]) > 1 else {}
        onnx2tf.convert(onnx_graph=with_states(model, batch),
                        output_folder_path=str(folder), non_verbose=True,
                        verbosity="error", **keep)


def with_states(model, batch):
    """The first states of recurrent layers, which onnx2tf has to be given."""
    from onnx import numpy_helper
    for node in model.graph.node:
        states = {"LSTM": ["h", "c"], "GRU": ["h"]}.get(node.op_type, [])
        if states:
            node.input.append("")
        for name in states:
            hidden, = [a.i for a in node.attribute if a.name == "hidden_size"]
            node.input.append(f"first_{name}")
            model.graph.initializer.append(numpy_helper.from_array(
                np.zeros((1, batch, hidden), np.float32), node.input[-1]))
    return model


PEERS = {
    "treenail": Treenail,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "litert": LiteRt,
    "torch": Torch,
    "torch-compile": TorchCompile,
    "emx": Emx,
    "emx-fast": EmxFast,
    "tvm": Tvm,
    "iree": Iree,
}
