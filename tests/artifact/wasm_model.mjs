// wasm_model.mjs: a WebAssembly module that treenail compiled as `m`, and its
// memory, for the programs beside this one.
//
// Offsets are those of the structs with pointers of 4 bytes; other_cpu.py has a C
// compiler check them.
import { readFileSync } from "node:fs";

export const MODEL = { size: 128, nElements: 36, nOutputs: 48, outputs: 56,
                       scratch: 64, nGolden: 104, goldenRows: 112,
                       goldenOut: 116, goldenDtype: 120 };
export const OUTPUT = { size: 32, dtype: 4, nElements: 8 };
const PAGE = 65536;

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
if (WebAssembly.Module.imports(module).length > 0)
    throw new Error("the module imports something");
export const { exports } = new WebAssembly.Instance(module);
const { memory } = exports;

export const view = () => new DataView(memory.buffer);
export const u32 = (at) => view().getUint32(at, true);
export const u64 = (at) => Number(view().getBigUint64(at, true));
export const bytesAt = (at, size) => new Uint8Array(memory.buffer, at, size);

// The address of the table of that name, which says its size `where`.
export function table(name, size, where) {
    const at = exports[name].value;
    if (u32(at + where) !== size)
        throw new Error(`${name}: struct_size is ${u32(at + where)}`);
    return at;
}

let end = exports.__heap_base.value;
// Memory of the caller's own, at a multiple of 64.
export function room(bytes) {
    const at = Math.ceil(end / 64) * 64;
    end = at + bytes;
    const missing = end - memory.buffer.byteLength;
    if (missing > 0)
        memory.grow(Math.ceil(missing / PAGE));
    return at;
}

// Whether two elements have the same bits, or are both NaN.
export function same(a, b, { dtype, size }) {
    if (Buffer.compare(bytesAt(a, size), bytesAt(b, size)) === 0)
        return true;
    const get = (at) => dtype === 1 ? view().getFloat64(at, true)
                                    : view().getFloat32(at, true);
    return dtype !== 2 && Number.isNaN(get(a)) && Number.isNaN(get(b));
}
