// steps.mjs: what steps.c does, for a WebAssembly module `m` that streams: its
// golden rows step by step, and several steps a call with a state that is
// copied and gone back to.
//
//     node steps.mjs MODULE
//
// Offsets are those of the structs with pointers of 4 bytes; streams.py has a C
// compiler check them.
import { MODEL, OUTPUT, bytesAt, exports, room, same, table, u32, u64, view }
    from "./wasm_model.mjs";

const STREAM = { size: 80, nSteps: 4, nElements: 8, rowStart: 12, rowOuter: 16,
                 rowInner: 20, state: 24, scratch: 32, outputs: 40,
                 nStart: 64 };
const STEP = { size: 16, outer: 0, inner: 4, nSteps: 8, firstStep: 12 };
const model = table("m_model", MODEL.size, 4);
const stream = table("m_stream", STREAM.size, 0);

const nSteps = u32(stream + STREAM.nSteps);
const nElements = u32(stream + STREAM.nElements);
const nStart = u64(stream + STREAM.nStart);
const stateBytes = u64(stream + STREAM.state);
const width = u32(model + MODEL.nElements);
const goldenBytes = u32(model + MODEL.goldenDtype) === 1 ? 8 : 4;
const [outer, inner] = [u32(stream + STREAM.rowOuter),
                        u32(stream + STREAM.rowInner)];
const rowStart = u32(stream + STREAM.rowStart);
const state = room(stateBytes), kept = room(stateBytes);
const scratch = room(u64(stream + STREAM.scratch) + 64);
const steps = room(8 * nElements * nSteps), start = room(8 * nStart + 8);

function outputOf(o) {
    const at = u32(model + MODEL.outputs) + o * OUTPUT.size;
    const step = u32(stream + STREAM.outputs) + o * STEP.size;
    const size = u32(at + OUTPUT.dtype) === 1 ? 8 : 4;
    return { o, dtype: u32(at + OUTPUT.dtype), size,
             bytes: size * u32(at + OUTPUT.nElements),
             outer: u32(step + STEP.outer), inner: u32(step + STEP.inner),
             nSteps: u32(step + STEP.nSteps),
             firstStep: u32(step + STEP.firstStep),
             want: u32(u32(model + MODEL.goldenOut) + 4 * o) };
}

function check(status, what) {
    if (status !== 0)
        throw new Error(`${what}: status ${status}`);
}

// Lays a golden row out as steps, end to end, and as what it starts from: as
// doubles, whatever it is of.
function layOut(row) {
    const get = (at) => goldenBytes === 8 ? view().getFloat64(at, true)
                                          : view().getFloat32(at, true);
    const put = (to, i, from) => view().setFloat64(
        to + 8 * i, get(row + goldenBytes * from), true);
    for (let t = 0, to = 0; t < nSteps; t++)
        for (let o = 0; o < outer; o++)
            for (let i = 0; i < inner; i++)
                put(steps, to++, rowStart + (o * nSteps + t) * inner + i);
    for (let i = 0; i < nStart; i++)
        put(start, i, i < rowStart ? i : i + nSteps * nElements);
}

function begin() {
    if (nStart)
        check(exports.m_state_start_f64(state, start, scratch), "start");
    else
        exports.m_state_init(state);
}

const place = (p, o, t, i) =>
    p.size * (p.nSteps ? (o * p.nSteps + t - p.firstStep) * p.inner + i
                       : o * p.inner + i);

function compareGolden(p, row, out) {
    begin();
    for (let t = 0; t < nSteps; t++) {
        check(exports.m_step_f64(p.o, state, steps + 8 * nElements * t, out,
                                 scratch), "step");
        if (t < p.firstStep || (p.nSteps === 0 && t + 1 < nSteps))
            continue;
        for (let o = 0; o < p.outer; o++)
            for (let i = 0; i < p.inner; i++)
                if (!same(out + p.size * (o * p.inner + i),
                          p.want + p.bytes * row + place(p, o, t, i), p))
                    throw new Error(`output ${p.o}, row ${row}, step ${t}`);
    }
}

// In two calls, the second of them twice, from a copy of the state.
function compareCalls(p, one, many) {
    const step = p.outer * p.inner * p.size, moves = p.nSteps ? step : 0;
    const half = Math.floor(nSteps / 2), size = (n) => moves ? n * step : step;
    begin();
    for (let t = 0; t < nSteps; t++)
        check(exports.m_step_f64(p.o, state, steps + 8 * nElements * t,
                                 one + t * moves, scratch), "step");
    begin();
    const stride = BigInt(nElements);
    check(exports.m_steps_f64(p.o, state, steps, BigInt(half), stride, many,
                              scratch), "steps");
    bytesAt(kept, stateBytes).set(bytesAt(state, stateBytes));
    for (let twice = 0; twice < 2; twice++) {
        bytesAt(state, stateBytes).set(bytesAt(kept, stateBytes));
        bytesAt(many + half * moves, size(nSteps - half)).fill(0x5a);
        check(exports.m_steps_f64(p.o, state, steps + 8 * nElements * half,
                                  BigInt(nSteps - half), stride,
                                  many + half * moves, scratch), "steps");
        if (Buffer.compare(bytesAt(one, size(nSteps)),
                           bytesAt(many, size(nSteps))))
            throw new Error(`output ${p.o}: several steps differ`);
    }
}

const nOutputs = u32(model + MODEL.nOutputs);
if (exports.m_step_f64(nOutputs, state, steps, state, scratch) !== 1 ||
    exports.m_step_f64(0, 0, steps, state, scratch) !== 4 ||
    exports.m_step_f64(0, state + 4, steps, state, scratch) !== 4)
    throw new Error("bad arguments pass");
for (let o = 0; o < nOutputs; o++) {
    const p = outputOf(o);
    const bytes = p.outer * p.inner * p.size * nSteps + p.bytes;
    const one = room(bytes), many = room(bytes);
    for (let row = 0; row < u32(model + MODEL.nGolden); row++) {
        layOut(u32(model + MODEL.goldenRows) + goldenBytes * width * row);
        compareGolden(p, row, one);
    }
    compareCalls(p, one, many);
}
