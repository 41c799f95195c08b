// score_rows.mjs: what score_rows.c does, for a WebAssembly module `m`.
//
//     node score_rows.mjs MODULE N_ROWS < rows > answers
//
// Offsets are those of struct tn_model with pointers of 4 bytes; other_cpu.py
// has a C compiler check them.
import { readFileSync, writeSync } from "node:fs";

const MODEL = { size: 128, nElements: 36, nOutputs: 48, outputs: 56,
                scratch: 64, nGolden: 104, goldenRows: 112, goldenOut: 116,
                goldenDtype: 120 };
const OUTPUT = { size: 32, dtype: 4, nElements: 8 };
const PAGE = 65536;

const [, , file, count] = process.argv;
const n = Number(count);
const module = new WebAssembly.Module(readFileSync(file));
if (WebAssembly.Module.imports(module).length > 0)
    throw new Error("the module imports something");
const { exports } = new WebAssembly.Instance(module);
const { memory, m_model: { value: model } } = exports;

const view = () => new DataView(memory.buffer);
const u32 = (at) => view().getUint32(at, true);
if (u32(model + 4) !== MODEL.size)
    throw new Error(`struct_size is ${u32(model + 4)}`);

let end = exports.__heap_base.value;
function room(bytes) {
    const at = Math.ceil(end / 64) * 64;
    end = at + bytes;
    const missing = end - memory.buffer.byteLength;
    if (missing > 0)
        memory.grow(Math.ceil(missing / PAGE));
    return at;
}

const bytesAt = (at, size) => new Uint8Array(memory.buffer, at, size);
const nOutputs = u32(model + MODEL.nOutputs);
const outputs = Array.from({ length: nOutputs }, (_, o) => {
    const at = u32(model + MODEL.outputs) + o * OUTPUT.size;
    const dtype = u32(at + OUTPUT.dtype);
    const width = u32(at + OUTPUT.nElements) * (dtype === 1 ? 8 : 4);
    return { o, dtype, width };
});
const nElements = u32(model + MODEL.nElements);
const scratchBytes = Number(view().getBigUint64(model + MODEL.scratch, true));
const scratch = scratchBytes ? room(scratchBytes) : 0;

// Whether two arrays hold the same elements, a NaN being any NaN.
function same(a, b, dtype) {
    const size = dtype === 1 ? 8 : 4;
    const isNaNAt = (bytes, i) => {
        const d = new DataView(bytes.buffer, bytes.byteOffset + i, size);
        return dtype === 1 ? Number.isNaN(d.getFloat64(0, true))
             : dtype === 0 && Number.isNaN(d.getFloat32(0, true));
    };
    for (let i = 0; i < a.length; i += size)
        if (Buffer.compare(a.subarray(i, i + size), b.subarray(i, i + size)) &&
            !(isNaNAt(a, i) && isNaNAt(b, i)))
            return false;
    return true;
}

// All rows as a batch, then one by one: the answers, a copy.
function answer(type, bytes, { o, width, dtype }, rows, count) {
    const out = room(count * width), one = room(count * width);
    let status = exports[`m_predict_${type}`](o, rows, BigInt(count),
        BigInt(nElements), 1n, out, scratch);
    for (let r = 0; r < count; r++)
        status |= exports[`m_predict_one_${type}`](
            o, rows + r * nElements * bytes, one + r * width, scratch);
    if (status !== 0)
        throw new Error(`output ${o}: status ${status}`);
    const got = Uint8Array.from(bytesAt(out, count * width));
    if (!same(got, bytesAt(one, count * width), dtype))
        throw new Error(`output ${o}: one by one differs`);
    return got;
}

function checkGolden() {
    const count = u32(model + MODEL.nGolden);
    const bytes = u32(model + MODEL.goldenDtype) === 1 ? 8 : 4;
    for (const output of outputs) {
        const got = answer(bytes === 8 ? "f64" : "f32", bytes, output,
                           u32(model + MODEL.goldenRows), count);
        const want = u32(u32(model + MODEL.goldenOut) + 4 * output.o);
        if (!same(got, bytesAt(want, count * output.width), output.dtype))
            throw new Error(`output ${output.o}: the self-test fails`);
    }
}

function write(bytes) {
    for (let at = 0; at < bytes.length;)
        at += writeSync(1, bytes, at);
}

checkGolden();
const given = readFileSync(0);
const total = n * nElements;
const rows = room(total * 8), narrow = room(total * 4);
bytesAt(rows, total * 8).set(given);
for (let i = 0; i < total; i++)
    view().setFloat32(narrow + 4 * i, given.readDoubleLE(8 * i), true);
for (const output of outputs)
    write(answer("f64", 8, output, rows, n));
for (const output of outputs)
    write(answer("f32", 4, output, narrow, n));
