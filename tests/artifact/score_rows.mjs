// score_rows.mjs: what score_rows.c does, for a WebAssembly module `m`.
//
//     node score_rows.mjs MODULE N_ROWS < rows > answers
import { readFileSync, writeSync } from "node:fs";
import { MODEL, OUTPUT, bytesAt, exports, room, same, table, u32, u64, view }
    from "./wasm_model.mjs";

const n = Number(process.argv[3]);
const model = table("m_model", MODEL.size, 4);
const nOutputs = u32(model + MODEL.nOutputs);
const outputs = Array.from({ length: nOutputs }, (_, o) => {
    const at = u32(model + MODEL.outputs) + o * OUTPUT.size;
    const dtype = u32(at + OUTPUT.dtype);
    const size = dtype === 1 ? 8 : 4;
    return { o, dtype, size, width: u32(at + OUTPUT.nElements) * size };
});
const nElements = u32(model + MODEL.nElements);
const scratchBytes = u64(model + MODEL.scratch);
const scratch = scratchBytes ? room(scratchBytes) : 0;

// Whether two arrays hold the same elements, a NaN being any NaN.
function alike(a, b, bytes, output) {
    for (let i = 0; i < bytes; i += output.size)
        if (!same(a + i, b + i, output))
            return false;
    return true;
}

// All rows as a batch, then one by one: where the answers are.
function answer(type, bytes, output, rows, count) {
    const { o, width } = output;
    const out = room(count * width), one = room(count * width);
    let status = exports[`m_predict_${type}`](o, rows, BigInt(count),
        BigInt(nElements), 1n, out, scratch);
    for (let r = 0; r < count; r++)
        status |= exports[`m_predict_one_${type}`](
            o, rows + r * nElements * bytes, one + r * width, scratch);
    if (status !== 0)
        throw new Error(`output ${o}: status ${status}`);
    if (!alike(out, one, count * width, output))
        throw new Error(`output ${o}: one by one differs`);
    return out;
}

function checkGolden() {
    const count = u32(model + MODEL.nGolden);
    const bytes = u32(model + MODEL.goldenDtype) === 1 ? 8 : 4;
    for (const output of outputs) {
        const got = answer(bytes === 8 ? "f64" : "f32", bytes, output,
                           u32(model + MODEL.goldenRows), count);
        const want = u32(u32(model + MODEL.goldenOut) + 4 * output.o);
        if (!alike(got, want, count * output.width, output))
            throw new Error(`output ${output.o}: the self-test fails`);
    }
}

function write(from, size) {
    for (const end = from + size; from < end;)
        from += writeSync(1, bytesAt(from, end - from));
}

checkGolden();
const given = readFileSync(0);
const total = n * nElements;
const rows = room(total * 8), narrow = room(total * 4);
bytesAt(rows, total * 8).set(given);
for (let i = 0; i < total; i++)
    view().setFloat32(narrow + 4 * i, given.readDoubleLE(8 * i), true);
for (const output of outputs)
    write(answer("f64", 8, output, rows, n), n * output.width);
for (const output of outputs)
    write(answer("f32", 4, output, narrow, n), n * output.width);
