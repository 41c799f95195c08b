/* emit_library.c: a module as a whole: for each output, level and dtype a
 * function that runs tiles; the exported entry points; the golden rows; and
 * the tn_model that describes all of it. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

void be_mark_slice(const struct be_emitter *e, const struct ir_value *value,
                   bool *needed)
{
    const struct ir_module *m = e->module;
    needed[value->id] = true;
    for (int i = m->n_ops - 1; i >= 0; i--) {
        const struct ir_op *op = m->ops[i];
        bool any = false;
        for (int r = 0; r < op->n_results; r++)
            any = any || needed[op->result[r].id];
        for (int o = 0; any && o < op->n_operands; o++)
            needed[op->operand[o]->id] = true;
    }
}

static bool *slice_of(struct be_emitter *e, const struct ir_value *value)
{
    bool *needed = ir_alloc_array(
        &e->arena, (size_t)ir_value_count(e->module), sizeof(bool));
    be_mark_slice(e, value, needed);
    return needed;
}

void be_lower_slice(struct be_emitter *e)
{
    for (int i = 0; i < e->module->n_ops; i++) {
        const struct ir_op *op = e->module->ops[i];
        bool any = false;
        for (int r = 0; r < op->n_results; r++)
            any = any || e->needed[op->result[r].id];
        if (!any)
            continue;
        if (!be_lower_table[op->kind])
            ir_bug("%s reached the backend", ir_op_table[op->kind].name);
        be_lower_table[op->kind](e, op);
    }
    /* An output that is a row of the input itself, or is remembered, is
     * copied. */
    if (e->out_value->op->kind == IR_OP_input ||
        (e->in_step && e->kept[e->out_value->id]))
        be_copy_out(e);
}

LLVMValueRef be_workspace(struct be_emitter *e, const struct be_layout *layout,
                          LLVMValueRef scratch)
{
    if (!layout->on_stack)
        return scratch;
    LLVMTypeRef type = LLVMArrayType2(e->i8, (uint64_t)layout->bytes + 64);
    LLVMValueRef room = LLVMBuildAlloca(e->b, type, "workspace");
    LLVMSetAlignment(room, 64);
    return room;
}

/* void run(rows, n_rows, row_stride, column_stride, out, scratch) */
static LLVMValueRef emit_batch(struct be_emitter *e,
                               const struct ir_value *value,
                               enum ir_dtype dtype,
                               const struct be_level *level)
{
    char name[64];
    snprintf(name, sizeof(name), "run_%d_%s_%d", value->id,
             ir_dtype_name(dtype), level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->i64, e->i64, e->i64, e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 6, level);
    LLVMValueRef rows = LLVMGetParam(fn, 0), n = LLVMGetParam(fn, 1);
    LLVMValueRef out = LLVMGetParam(fn, 4);
    e->one_row = false;
    e->row_dtype = dtype;
    e->row_stride = LLVMGetParam(fn, 2);
    e->column_stride = LLVMGetParam(fn, 3);
    e->workspace = be_workspace(e, e->layout, LLVMGetParam(fn, 5));
    e->out_value = value;
    e->needed = slice_of(e, value);

    struct be_loop tile;
    LLVMValueRef tile_rows = be_i64(e, e->layout->rows);
    be_loop_begin(e, &tile, be_i64(e, 0), n, e->layout->rows);
    LLVMValueRef left = LLVMBuildNSWSub(e->b, n, tile.index, "");
    LLVMValueRef part = LLVMBuildICmp(e->b, LLVMIntSLT, left, tile_rows, "");
    e->n_rows = LLVMBuildSelect(e->b, part, left, tile_rows, "");
    e->rows = be_at(e, be_type(e, dtype), rows,
                    LLVMBuildMul(e->b, tile.index, e->row_stride, ""));
    e->out = be_at(e, be_type(e, value->type.dtype), out,
                   LLVMBuildMul(e->b, tile.index,
                                be_i64(e, ir_type_volume(&value->type)), ""));
    be_lower_slice(e);
    be_loop_end(e, &tile);
    LLVMBuildRetVoid(e->b);
    return fn;
}

LLVMValueRef be_run_one_emit(struct be_emitter *e, const struct ir_value *value,
                             enum ir_dtype dtype, const struct be_level *level)
{
    char name[64];
    snprintf(name, sizeof(name), "%s_%d_%s_%d", e->in_step ? "start" : "one",
             value->id, ir_dtype_name(dtype), level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 3, level);
    e->one_row = true;
    e->row_dtype = dtype;
    e->row_stride = be_i64(e, 0);
    e->column_stride = be_i64(e, 1);
    e->workspace = be_workspace(e, be_layout_of(e), LLVMGetParam(fn, 2));
    e->out_value = value;
    e->needed = slice_of(e, value);
    e->n_rows = be_i64(e, 1);
    e->rows = LLVMGetParam(fn, 0);
    e->out = LLVMGetParam(fn, 1);
    be_lower_slice(e);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_copy_out(struct be_emitter *e)
{
    const struct be_view x = be_view_of(e, e->out_value);
    const enum ir_dtype to = e->out_value->type.dtype;
    const int64_t n = ir_type_volume(&e->out_value->type);
    struct be_loop row, column;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    be_loop_begin(e, &column, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef v =
        be_load(e, be_type(e, x.dtype),
                be_view_at(e, &x, row.index, column.index));
    LLVMValueRef at = LLVMBuildAdd(
        e->b, LLVMBuildMul(e->b, row.index, be_i64(e, n), ""), column.index,
        "");
    be_store(e, be_convert(e, v, x.dtype, to),
             be_at(e, be_type(e, to), e->out, at));
    be_loop_end(e, &column);
    be_loop_end(e, &row);
}

/* ------------------------------------------------------------ entry points */

/* Returns `status` unless `ok`; the builder goes on where it is ok. */
static void require(struct be_emitter *e, LLVMValueRef ok, int status)
{
    LLVMBasicBlockRef good = be_block(e, "good"), bad = be_block(e, "bad");
    LLVMBuildCondBr(e->b, ok, good, bad);
    LLVMPositionBuilderAtEnd(e->b, bad);
    LLVMBuildRet(e->b, be_i32(e, status));
    LLVMPositionBuilderAtEnd(e->b, good);
}

/* Requires that the address is a multiple of `align`, and not NULL. */
static void require_memory(struct be_emitter *e, LLVMValueRef at, int align,
                           int status)
{
    at = LLVMBuildPtrToInt(e->b, at, e->i64, "");
    LLVMValueRef low = LLVMBuildAnd(e->b, at, be_i64(e, align - 1), "");
    require(e,
            LLVMBuildAnd(e->b, LLVMBuildIsNull(e->b, low, ""),
                         LLVMBuildIsNotNull(e->b, at, ""), ""),
            status);
}

LLVMValueRef be_entry_emit(struct be_emitter *e, const char *suffix,
                           LLVMTypeRef *params, int n_params,
                           LLVMValueRef level_fn, LLVMValueRef *run,
                           int n_outputs, bool needs_scratch)
{
    char *name = ir_sprintf(&e->arena, "%s_%s", e->name, suffix);
    LLVMValueRef fn =
        be_function(e, name, e->i32, params, n_params, e->levels[0]);
    LLVMSetLinkage(fn, LLVMExternalLinkage);
    be_set_part(e, fn, "entry", 5); /* whatever the model's name is */
    const int first = n_outputs > 0 ? 1 : 0;
    LLVMValueRef output = LLVMGetParam(fn, 0), args[8];
    for (int i = first; i < n_params; i++)
        args[i - first] = LLVMGetParam(fn, (unsigned)i);
    if (n_outputs)
        require(e,
                LLVMBuildICmp(e->b, LLVMIntULT, output, be_i32(e, n_outputs),
                              ""),
                TN_BAD_OUTPUT);
    if (e->in_step)
        require_memory(e, LLVMGetParam(fn, (unsigned)first), 8, TN_BAD_STATE);
    if (needs_scratch)
        require_memory(e, LLVMGetParam(fn, (unsigned)n_params - 1),
                       TN_SCRATCH_ALIGN, TN_BAD_SCRATCH);
    LLVMValueRef level = be_call(e, level_fn, NULL, 0), which = level;
    require(e,
            LLVMBuildICmp(e->b, LLVMIntSGE, level, be_i32(e, 0), ""),
            TN_BAD_CPU);
    if (n_outputs)
        which = LLVMBuildAdd(
            e->b, LLVMBuildMul(e->b, level, be_i32(e, n_outputs), ""), output,
            "");
    LLVMBasicBlockRef done = be_block(e, "done");
    const int n = e->n_levels * (n_outputs ? n_outputs : 1);
    LLVMValueRef jump = LLVMBuildSwitch(e->b, which, done, (unsigned)n);
    for (int i = 0; i < n; i++) {
        LLVMBasicBlockRef block = be_block(e, "run");
        LLVMAddCase(jump, be_i32(e, i), block);
        LLVMPositionBuilderAtEnd(e->b, block);
        be_call(e, run[i], args, n_params - first);
        LLVMBuildBr(e->b, done);
    }
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMBuildRet(e->b, be_i32(e, TN_OK));
    return fn;
}

/* One function by level and output; outputs that share a value share it. */
static LLVMValueRef *emit_runs(struct be_emitter *e, enum ir_dtype dtype,
                               bool one_row)
{
    const struct ir_module *m = e->module;
    LLVMValueRef *run = ir_alloc_array(
        &e->arena, (size_t)e->n_levels * m->n_outputs, sizeof(*run));
    for (int l = 0; l < e->n_levels; l++)
        for (int o = 0; o < m->n_outputs; o++) {
            const struct ir_value *v = m->outputs[o].value;
            int same = 0;
            while (m->outputs[same].value != v)
                same++;
            const int i = l * m->n_outputs + o;
            if (same < o)
                run[i] = run[l * m->n_outputs + same];
            else if (one_row)
                run[i] = be_run_one_emit(e, v, dtype, e->levels[l]);
            else
                run[i] = emit_batch(e, v, dtype, e->levels[l]);
        }
    return run;
}

/* --------------------------------------------------------------- tn_model */

LLVMValueRef be_struct(struct be_emitter *e, LLVMValueRef *fields, unsigned n)
{
    return LLVMConstStructInContext(e->context, fields, n, 0);
}

LLVMValueRef be_array(struct be_emitter *e, const char *name, LLVMTypeRef type,
                      LLVMValueRef *items, size_t n)
{
    if (n == 0)
        return LLVMConstNull(e->ptr);
    LLVMValueRef init = LLVMConstArray2(type, items, n);
    LLVMValueRef g = LLVMAddGlobal(e->llvm, LLVMTypeOf(init), name);
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    return g;
}

static LLVMValueRef strings(struct be_emitter *e, const char *const *s, int n)
{
    LLVMValueRef *items = ir_realloc_array(NULL, (size_t)n + 1, sizeof(*items));
    for (int i = 0; i < n; i++)
        items[i] = be_cstring(e, s[i]);
    LLVMValueRef array = be_array(e, "names", e->ptr, items, (size_t)n);
    free(items);
    return array;
}

static LLVMValueRef columns(struct be_emitter *e)
{
    const struct ir_module *m = e->module;
    LLVMValueRef *items =
        ir_realloc_array(NULL, (size_t)m->n_columns + 1, sizeof(*items));
    static const uint32_t kinds[] = {
        [IR_NUMBER] = TN_NUMBER, [IR_CATEGORY] = TN_CATEGORY,
        [IR_TENSOR_COLUMN] = TN_TENSOR};
    for (int i = 0; i < m->n_columns; i++) {
        const struct ir_column *c = &m->columns[i];
        LLVMValueRef fields[] = {
            be_cstring(e, c->name), be_i32(e, kinds[c->kind]),
            be_i32(e, c->n_elements), be_i32(e, c->n_categories),
            strings(e, c->categories, c->n_categories)};
        items[i] = be_struct(e, fields, 5);
    }
    LLVMValueRef array =
        be_array(e, "columns", m->n_columns ? LLVMTypeOf(items[0]) : e->ptr,
                 items, (size_t)m->n_columns);
    free(items);
    return array;
}

static uint32_t abi_dtype(enum ir_dtype dtype)
{
    switch (dtype) {
    case IR_F32: return TN_F32;
    case IR_F64: return TN_F64;
    case IR_I32: return TN_I32;
    default: ir_bug("an output of %s", ir_dtype_name(dtype));
    }
}

static LLVMValueRef outputs(struct be_emitter *e)
{
    const struct ir_module *m = e->module;
    LLVMValueRef *items =
        ir_realloc_array(NULL, (size_t)m->n_outputs + 1, sizeof(*items));
    for (int i = 0; i < m->n_outputs; i++) {
        const struct ir_output *o = &m->outputs[i];
        LLVMValueRef fields[] = {
            be_cstring(e, o->name),
            be_i32(e, abi_dtype(o->value->type.dtype)),
            be_i32(e, ir_type_volume(&o->value->type)),
            be_i32(e, o->n_labels), strings(e, o->labels, o->n_labels),
            be_real(e, IR_F64, 0)};
        items[i] = be_struct(e, fields, 6);
    }
    LLVMValueRef array = be_array(e, "outputs", LLVMTypeOf(items[0]), items,
                                  (size_t)m->n_outputs);
    free(items);
    return array;
}

/* How many rows are embedded when nobody asked for a number: those of images
 * take room, and the interpreter evaluates a large net for seconds. */
static int golden_count(const struct ir_module *source)
{
    enum { most = 16, most_bytes = 65536 };
    const int64_t most_work = INT64_C(1) << 30;
    const int64_t by_bytes = most_bytes / (8 * ir_row_elements(source) + 1);
    const int64_t by_work = most_work / (ir_module_work(source) + 1);
    const int64_t n = by_bytes < by_work ? by_bytes : by_work;
    return n > most ? most : n > 1 ? (int)n : 1;
}

/* Golden rows, and what is expected of each output. */
struct golden {
    int n;
    LLVMValueRef rows, out;
    uint32_t dtype; /* of rows, enum tn_dtype */
};

/* Whether all inputs are f32: then numbers are rounded to that before anything
 * else is done with them, and rows can be so from the start. */
static bool reads_floats(const struct ir_module *source)
{
    for (int i = 0; i < source->n_ops; i++)
        if (source->ops[i]->kind == IR_OP_input &&
            source->ops[i]->result[0].type.dtype != IR_F32)
            return false;
    return true;
}

/* Those of images are large, hence the narrow ones. */
static void emit_golden_rows(struct be_emitter *e,
                             const struct ir_module *source,
                             struct golden *golden, const double *numbers)
{
    const size_t n = (size_t)golden->n * (size_t)ir_row_elements(source);
    golden->dtype = reads_floats(source) ? TN_F32 : TN_F64;
    if (golden->dtype == TN_F64) {
        golden->rows = be_bytes(e, "golden_rows", numbers, n * 8, 8);
        return;
    }
    float *floats = ir_realloc_array(NULL, n + 1, sizeof(*floats));
    for (size_t i = 0; i < n; i++)
        floats[i] = (float)numbers[i];
    golden->rows = be_bytes(e, "golden_rows", floats, n * 4, 8);
    free(floats);
}

/* What the interpreter makes of them, of the module as it was imported. */
static void emit_golden_out(struct be_emitter *e, struct golden *golden,
                            const struct ir_module *source,
                            const struct ir_rows *rows)
{
    LLVMValueRef *items =
        ir_realloc_array(NULL, (size_t)source->n_outputs + 1, sizeof(*items));
    for (int o = 0; o < source->n_outputs; o++) {
        const struct ir_type *type = &source->outputs[o].value->type;
        const size_t bytes = (size_t)rows->n_rows *
                             (size_t)ir_type_volume(type) *
                             ir_dtype_bytes(type->dtype);
        void *values = ir_realloc_array(NULL, bytes + 1, 1);
        ir_eval(source, o, rows, values);
        items[o] = be_bytes(e, "golden_out", values, bytes, 8);
        free(values);
    }
    golden->out = be_array(e, "golden_out_by_output", e->ptr, items,
                           (size_t)source->n_outputs);
    free(items);
}

/* Some rows are derived from the model, the rest is drawn. */
static void emit_golden(struct be_emitter *e, const struct ir_module *source,
                        struct golden *golden)
{
    const int n = golden->n;
    const size_t width = (size_t)ir_row_elements(source);
    double *data = ir_realloc_array(NULL, (size_t)n * width + 1, 8);
    struct ir_probe *probe = ir_probe_new(source, 1);
    const int64_t derived = ir_probe_count(probe);
    for (int i = 0; i < n; i++) {
        const int64_t spread = derived / n > 0 ? derived / n : 1;
        const int64_t at = i % 2 ? derived + i : (int64_t)i * spread;
        ir_probe_row(probe, at, data + (size_t)i * width);
    }
    ir_probe_free(probe);
    const struct ir_rows rows = {IR_F64, data, n, (int64_t)width, 1};
    emit_golden_rows(e, source, golden, data);
    emit_golden_out(e, golden, source, &rows);
    free(data);
}

static const char *fact(const struct be_emitter *e, const char *key)
{
    const char *value = ir_get_fact(e->module, key);
    return value ? value : "";
}

/* The strategies of the module's forests: "" without one. */
static const char *strategy(const struct be_emitter *e, const char *name)
{
    for (int i = 0; i < e->module->n_ops; i++)
        if (e->module->ops[i]->kind == IR_OP_forest)
            return ir_attr_string(e->module->ops[i], name);
    return "";
}

/* What the forests take for a row of a batch, as the schedule reckons. */
static int64_t batch_ns(const struct be_emitter *e)
{
    int64_t ns = 0;
    for (int i = 0; i < e->module->n_ops; i++)
        ns += ir_attr_int_or(e->module->ops[i], "batch_ns", 0);
    return ns < INT32_MAX ? ns : INT32_MAX;
}

void be_export_struct(struct be_emitter *e, const char *suffix,
                      LLVMValueRef *fields, unsigned n, int own_size)
{
    const unsigned long long bytes = LLVMABISizeOfType(
        LLVMGetModuleDataLayout(e->llvm), LLVMTypeOf(be_struct(e, fields, n)));
    fields[own_size] = be_i32(e, (int64_t)bytes);
    LLVMValueRef init = be_struct(e, fields, n);
    LLVMValueRef it =
        LLVMAddGlobal(e->llvm, LLVMTypeOf(init),
                      ir_sprintf(&e->arena, "%s_%s", e->name, suffix));
    LLVMSetInitializer(it, init);
    LLVMSetGlobalConstant(it, 1);
}

void be_library_emit(struct be_emitter *e, const struct ir_module *source,
                     int n_golden)
{
    LLVMTypeRef batch[] = {e->i32, e->ptr, e->i64, e->i64,
                           e->i64, e->ptr, e->ptr};
    LLVMTypeRef one[] = {e->i32, e->ptr, e->ptr, e->ptr};
    LLVMValueRef level, limit, entry[4];
    struct golden golden = {.n = n_golden};
    be_forests_emit(e);
    e->layout = be_layout_new(e, be_tile_rows(e));
    e->layout_one = be_layout_new(e, 1);
    e->staged = ir_alloc_array(&e->arena, (size_t)ir_value_count(e->module),
                               sizeof(*e->staged));
    be_dispatch_emit(e, &level, &limit);
    static const char *const suffix[] = {"predict_f32", "predict_f64",
                                         "predict_one_f32", "predict_one_f64"};
    for (int i = 0; i < 4; i++) {
        const bool one_row = i >= 2;
        LLVMValueRef *run = emit_runs(e, i % 2 ? IR_F64 : IR_F32, one_row);
        entry[i] = be_entry_emit(e, suffix[i], one_row ? one : batch,
                                 one_row ? 4 : 7, level, run,
                                 e->module->n_outputs,
                                 be_scratch_bytes(e) > 0);
    }
    if (golden.n == 0)
        golden.n = golden_count(source);
    emit_golden(e, source, &golden);
    if (e->stream)
        be_steps_emit(e, level);

    const char *isa[8];
    for (int i = 0; i < e->n_levels; i++)
        isa[i] = e->levels[i]->name;
    LLVMValueRef fields[] = {
        be_i32(e, TN_ABI_VERSION),
        be_i32(e, 0), /* its own size */
        be_cstring(e, e->name),
        be_cstring(e, "treenail " IR_VERSION),
        be_cstring(e, fact(e, "source_format")),
        be_cstring(e, fact(e, "source_sha256")),
        be_cstring(e, e->target->triple),
        be_cstring(e, strategy(e, "strategy")),
        be_cstring(e, strategy(e, "row_strategy")),
        be_i32(e, ir_row_elements(e->module)),
        be_i32(e, e->module->n_columns),
        columns(e),
        be_i32(e, e->module->n_outputs),
        be_i32(e, e->n_levels),
        outputs(e),
        strings(e, isa, e->n_levels),
        be_i64(e, be_scratch_bytes(e)),
        be_i64(e, be_stack_bytes(e)),
        entry[0], entry[1], entry[2], entry[3],
        level, limit,
        be_i32(e, golden.n), be_i32(e, batch_ns(e)), golden.rows, golden.out,
        be_i32(e, golden.dtype),
    };
    be_export_struct(e, "model", fields, sizeof(fields) / sizeof(fields[0]), 1);
}
