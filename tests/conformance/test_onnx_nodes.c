/* test_onnx_nodes.c: the tests that the ONNX standard has for each of its ops.
 *
 *   test_onnx_nodes PREDICTOR [--each N] DATA... [--table FILE] [--update]
 *
 * DATA is a folder with a folder for each test (model.onnx and
 * test_data_set_0/{input,output}_I.pb), or a file that holds many of them, as
 * onnx_node/record.py writes it. Each model is imported and computed, and has
 * to give what the test expects, as closely as ONNX's own runner asks: to
 * 1e-3 relative, and 1e-7. What an importer may refuse is listed: FILE is a
 * Markdown table of ops with what passes and why the rest does not, and the
 * test fails when it is not true; --update writes it. --each N takes every Nth
 * test only: compiling all takes minutes.
 *
 * These tests give weights as inputs. Where a model is refused as it is, all
 * inputs but the first are made initializers, as they are in models; and where
 * that is refused, all but another one (a loop's trip count comes first).
 */
#include "conformance/predictors.h"
#include "frontend/frontend.h"

#include "onnx.pb-c.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VALUES = 64 };

/* One test of the data. */
struct test {
    char name[128];
    const uint8_t *model;
    size_t model_size;
    int n_inputs, n_outputs;
    const uint8_t *value[2][MAX_VALUES]; /* inputs, outputs: TensorProto */
    size_t size[2][MAX_VALUES];
};

/* What the tests of an op came to. */
struct op {
    char name[64];
    int n_passed, n_refused;
    int n_reasons;
    struct reason {
        char text[160];
        int n;
    } reason[64];
};

struct run {
    const struct predictor *predictor;
    struct op op[512];
    int each, index; /* of the tests that are taken: index % each == 0 */
    int n_ops, n_tests, n_passed, n_refused, n_wrong, n_absent;
};

/* --------------------------------------------------------------- numbers -- */

/* What the bits of half precision are. */
static double of_half(int type, uint16_t bits)
{
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16)
        return (double)ir_from_bf16(bits);
    const int exponent = bits >> 10 & 31;
    const double m = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return m != 0 ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1 + m / 1024, exponent - 15)
                            : ldexp(m, -24));
}

/* To what a FLOAT16 can be; others stay. */
static double rounded(int type, double v)
{
    if (type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 || v == 0 ||
        !isfinite(v))
        return v;
    const int e = ilogb(v) < -14 ? -14 : ilogb(v);
    v = ldexp(nearbyint(ldexp(v, 10 - e)), e - 10);
    return fabs(v) > 65504 ? copysign(INFINITY, v) : v;
}

/* A tensor's numbers; NULL for a type that is not compared. Freed by free(). */
static double *numbers_of(const Onnx__TensorProto *t, size_t *n)
{
    *n = 1;
    for (size_t i = 0; i < t->n_dims; i++)
        *n *= (size_t)t->dims[i];
    double *v = ir_realloc_array(NULL, *n + 1, sizeof *v);
    const uint8_t *raw = t->has_raw_data ? t->raw_data.data : NULL;
    for (size_t i = 0; i < *n; i++) {
        float f;
        int32_t word;
        int64_t whole;
        uint16_t half;
        switch (t->data_type) {
        case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
            f = raw ? (memcpy(&f, raw + 4 * i, 4), f) : t->float_data[i];
            v[i] = (double)f;
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
            if (raw)
                memcpy(&v[i], raw + 8 * i, 8);
            else
                v[i] = t->double_data[i];
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
            whole = raw ? (memcpy(&whole, raw + 8 * i, 8), whole)
                        : t->int64_data[i];
            v[i] = (double)whole;
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
            whole = raw ? (memcpy(&whole, raw + 8 * i, 8), whole)
                        : (int64_t)t->uint64_data[i];
            v[i] = (double)(uint64_t)whole;
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
            word = raw ? (memcpy(&word, raw + 4 * i, 4), word)
                   : t->n_int32_data ? t->int32_data[i]
                                     : (int32_t)t->uint64_data[i];
            v[i] = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT32
                       ? word : (double)(uint32_t)word;
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
        case ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
            half = raw ? (memcpy(&half, raw + 2 * i, 2), half)
                       : (uint16_t)t->int32_data[i];
            v[i] = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT16
                       ? (int16_t)half : half;
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
        case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
            half = raw ? (memcpy(&half, raw + 2 * i, 2), half)
                       : (uint16_t)t->int32_data[i];
            v[i] = of_half(t->data_type, half);
            break;
        case 21: /* UINT4 and INT4, two in a byte */
        case 22:
            whole = raw ? raw[i / 2] : t->int32_data[i / 2];
            whole = whole >> i % 2 * 4 & 15;
            v[i] = (double)(t->data_type == 22 && whole > 7 ? whole - 16
                                                            : whole);
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
            v[i] = (int8_t)(raw ? raw[i] : t->int32_data[i]);
            break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
        case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
            v[i] = raw ? raw[i] : t->int32_data[i];
            break;
        default:
            free(v);
            return NULL;
        }
    }
    return v;
}

/* ONNX 1.12 cut what it made a bfloat16 rather than rounding it. */
static bool is_close(int type, double got, double want)
{
    if (got == want || (isnan(got) && isnan(want)))
        return true;
    const double relative =
        type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 ? 0x1p-7 : 1e-3;
    return fabs(got - want) <= 1e-7 + relative * fabs(want);
}

/* ----------------------------------------------------------------- model -- */

static bool is_declared(const struct test *t, int side, int i, int type)
{
    Onnx__ModelProto *model =
        onnx__model_proto__unpack(NULL, t->model_size, t->model);
    const Onnx__GraphProto *graph = model ? model->graph : NULL;
    const size_t n = !graph ? 0 : side ? graph->n_output : graph->n_input;
    const Onnx__ValueInfoProto *value =
        (size_t)i >= n ? NULL : side ? graph->output[i] : graph->input[i];
    const bool is =
        value && value->type &&
        value->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
        value->type->tensor_type->elem_type == type;
    if (model)
        onnx__model_proto__free_unpacked(model, NULL);
    return is;
}

/* ONNX 1.12 wrote tests' bfloat16 as uint16. */
static Onnx__TensorProto *tensor(const struct test *t, int side, int i)
{
    enum { BFLOAT16 = ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 };
    Onnx__TensorProto *p = onnx__tensor_proto__unpack(
        NULL, t->size[side][i], t->value[side][i]);
    if (p && p->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT16 &&
        is_declared(t, side, i, BFLOAT16))
        p->data_type = BFLOAT16;
    return p;
}

static bool is_of_type(const Onnx__TensorProto *value,
                       const Onnx__ValueInfoProto *input)
{
    return input->type &&
           input->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
           input->type->tensor_type->elem_type == value->data_type;
}

/* The inputs that stay inputs: [from, to). */
struct kept {
    int from, to;
};

/* Whether the inputs that are kept, and all outputs, are numbers. */
static bool is_numeric(const struct test *t, struct kept kept)
{
    bool good = true;
    for (int i = kept.from; i < kept.to + t->n_outputs; i++) {
        Onnx__TensorProto *p =
            i < kept.to ? tensor(t, 0, i) : tensor(t, 1, i - kept.to);
        size_t count;
        double *v = p ? numbers_of(p, &count) : NULL;
        good = good && v;
        free(v);
        if (p)
            onnx__tensor_proto__free_unpacked(p, NULL);
    }
    return good;
}

/* The model's bytes with the other inputs as initializers. */
static uint8_t *bind(const struct test *t, struct kept kept, size_t *size)
{
    Onnx__ModelProto *model =
        onnx__model_proto__unpack(NULL, t->model_size, t->model);
    if (!model)
        return NULL;
    Onnx__GraphProto *graph = model->graph;
    for (int i = 0; i < t->n_inputs; i++) {
        const bool is_kept = i >= kept.from && i < kept.to;
        Onnx__TensorProto *value = is_kept ? NULL : tensor(t, 0, i);
        if (!value)
            continue;
        if ((size_t)i >= graph->n_input ||
            !is_of_type(value, graph->input[i])) {
            onnx__tensor_proto__free_unpacked(value, NULL);
            continue;
        }
        if (value->name != protobuf_c_empty_string)
            free(value->name);
        value->name = strdup(graph->input[i]->name);
        graph->initializer = ir_realloc_array(
            graph->initializer, graph->n_initializer + 1, sizeof value);
        graph->initializer[graph->n_initializer++] = value;
    }
    *size = onnx__model_proto__get_packed_size(model);
    uint8_t *bytes = ir_realloc_array(NULL, *size + 1, 1);
    onnx__model_proto__pack(model, bytes);
    onnx__model_proto__free_unpacked(model, NULL);
    return bytes;
}

/* The names of the graph's outputs, and the op that the test is about. */
static bool read_names(const struct test *t, char op[64],
                       char output[MAX_VALUES][128])
{
    Onnx__ModelProto *model =
        onnx__model_proto__unpack(NULL, t->model_size, t->model);
    if (!model || !model->graph)
        return false;
    const Onnx__GraphProto *graph = model->graph;
    snprintf(op, 64, "%s", graph->n_node == 1 ? graph->node[0]->op_type
                                              : "(several)");
    for (size_t i = 0; i < MAX_VALUES; i++)
        snprintf(output[i], 128, "%s", i < graph->n_output
                                           ? graph->output[i]->name : "");
    onnx__model_proto__free_unpacked(model, NULL);
    return true;
}

/* --------------------------------------------------------------- compare -- */

/* The rows of the inputs that are kept, each input's part after the other's. */
static double *make_rows(const struct test *t, struct kept kept,
                         int64_t width, int64_t *n_rows)
{
    double *value[MAX_VALUES] = {0};
    size_t count[MAX_VALUES] = {0}, total = 0;
    bool good = width > 0;
    for (int i = kept.from; i < kept.to; i++) {
        Onnx__TensorProto *p = tensor(t, 0, i);
        value[i] = p ? numbers_of(p, &count[i]) : NULL;
        good = good && value[i];
        total += count[i];
        if (p)
            onnx__tensor_proto__free_unpacked(p, NULL);
    }
    good = good && total % (size_t)width == 0;
    double *rows = good ? ir_realloc_array(NULL, total + 1, sizeof *rows)
                        : NULL;
    *n_rows = good ? (int64_t)(total / (size_t)width) : 0;
    size_t at = 0;
    for (int64_t r = 0; r < *n_rows; r++)
        for (int i = kept.from; i < kept.to; i++) {
            const size_t each = count[i] / (size_t)*n_rows;
            for (size_t k = 0; k < each; k++)
                rows[at++] = value[i][(size_t)r * each + k];
        }
    for (int i = kept.from; i < kept.to; i++)
        free(value[i]);
    return rows;
}

/* The module's output that the graph calls so. */
static int find_output(const struct ir_module *m, const char *name, int i,
                       int n)
{
    char clean[128];
    snprintf(clean, sizeof clean, "%s%.100s",
             isdigit((unsigned char)*name) ? "output_" : "", name);
    for (char *p = clean; *p; p++)
        if (!isalnum((unsigned char)*p))
            *p = '_';
    const int found = ir_find_output(m, clean);
    return n == 1 ? 0 : found >= 0 ? found : i == 0 ? 0
                                   : ir_find_output(m, "class");
}

static double element(const void *data, enum ir_dtype dtype, size_t i)
{
    return dtype == IR_I32 ? (double)((const int32_t *)data)[i]
                           : ir_real(data, dtype, i);
}

/* Output i of all rows is what the test expects. */
static bool check_output(const struct run *run, struct predictor_state *state,
                         const struct ir_module *m, const struct test *t,
                         const char *name, int i, const struct ir_rows *rows,
                         int way)
{
    const int o = find_output(m, name, i, t->n_outputs);
    Onnx__TensorProto *p = tensor(t, 1, i);
    size_t n = 0;
    double *want = p ? numbers_of(p, &n) : NULL;
    const int data_type = p ? p->data_type : 0;
    if (p)
        onnx__tensor_proto__free_unpacked(p, NULL);
    if (!want || o < 0) {
        printf("%s: output %d is not there, or of a type that is not "
               "compared\n", t->name, i);
        free(want);
        return false;
    }
    const struct ir_type *type = &m->outputs[o].value->type;
    const size_t got_n = (size_t)(rows->n_rows * ir_type_volume(type));
    void *got = ir_realloc_array(NULL, got_n + 1, sizeof(double));
    bool good = got_n == n &&
                predictor_predict(state, way, o, rows, got);
    if (!good)
        printf("%s: output %d has %zu elements, not %zu\n", t->name, i, got_n,
               n);
    for (size_t k = 0; good && k < n; k++) {
        const double v = rounded(data_type, element(got, type->dtype, k));
        good = is_close(data_type, v, want[k]);
        if (!good)
            printf("%s: %s %s: output %d[%zu] is %.9g, not %.9g\n", t->name,
                   run->predictor->name, predictor_way(state, way), i, k, v,
                   want[k]);
    }
    free(got);
    free(want);
    return good;
}

static bool fits(const struct ir_module *m, const struct test *t,
                 struct kept kept)
{
    int64_t n_rows;
    double *rows = make_rows(t, kept, ir_row_elements(m), &n_rows);
    free(rows);
    return rows != NULL;
}

static bool check_module(struct run *run, const struct ir_module *m,
                         const struct test *t, struct kept kept,
                         char names[MAX_VALUES][128])
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    bool absent = false, good = true;
    int64_t n_rows;
    const int64_t width = ir_row_elements(m);
    double *data = make_rows(t, kept, width, &n_rows);
    struct predictor_state *state =
        data ? predictor_open(run->predictor, m, &absent, &diag) : NULL;
    const struct ir_rows rows = {.dtype = IR_F64, .data = data,
                                 .n_rows = n_rows, .row_stride = width,
                                 .column_stride = 1};
    if (!state) {
        run->n_absent += absent;
        if (!absent)
            printf("%s: %s\n", t->name, diag.n_messages ? diag.message[0]
                   : "its inputs are no rows of the module's");
        good = absent;
    }
    for (int way = 0; state && good && predictor_way(state, way); way++)
        for (int i = 0; good && i < t->n_outputs; i++)
            good = check_output(run, state, m, t, names[i], i, &rows, way);
    if (state)
        predictor_close(state);
    free(data);
    ir_diag_release(&diag);
    return good;
}

/* ---------------------------------------------------------------- tally -- */

static struct op *find_op(struct run *run, const char *name)
{
    int i = 0;
    while (i < run->n_ops && strcmp(run->op[i].name, name) != 0)
        i++;
    if (i == run->n_ops) {
        snprintf(run->op[i].name, sizeof run->op[i].name, "%s", name);
        run->n_ops++;
    }
    return &run->op[i];
}

/* A message without where it is, quoted names and numbers. */
static void shorten(const char *message, char text[160])
{
    const char *from = strstr(message, "): ");
    size_t n = 0;
    from = from ? from + 3 : strstr(message, ": ") ? strstr(message, ": ") + 2
                                                   : message;
    while (*from && n + 2 < 160) {
        if (*from == '\'' && strchr(from + 1, '\'')) {
            text[n++] = '_';
            from = strchr(from + 1, '\'') + 1;
        } else if (isdigit((unsigned char)*from) &&
                   !(n && isalnum((unsigned char)text[n - 1]))) { /* no INT4 */
            text[n++] = 'n';
            from += strspn(from, "0123456789.");
        } else if (*from == '|') {
            from++;
        } else {
            text[n++] = *from++;
        }
    }
    text[n] = 0;
}

static void add_reason(struct op *op, const char *message)
{
    char text[160];
    shorten(message, text);
    int i = 0;
    while (i < op->n_reasons && strcmp(op->reason[i].text, text) != 0)
        i++;
    if (i == 64)
        return;
    op->n_reasons += i == op->n_reasons;
    snprintf(op->reason[i].text, sizeof op->reason[i].text, "%s", text);
    op->reason[i].n++;
    op->n_refused++;
}

/* Whether the model is read with these inputs; what it gives is compared. Why
 * it is refused goes to `refusal`. */
static bool try_inputs(struct run *run, const struct test *t,
                       struct kept kept, char outputs[MAX_VALUES][128],
                       bool *wrong, char refusal[1024])
{
    size_t size;
    struct ir_diag diag;
    ir_diag_init(&diag);
    uint8_t *bytes = bind(t, kept, &size);
    struct ir_module *m =
        bytes ? fe_import_bytes(bytes, size, t->name, &diag) : NULL;
    const bool numeric = m && is_numeric(t, kept);
    const bool is_read = numeric && fits(m, t, kept);
    if (is_read)
        *wrong |= !check_module(run, m, t, kept, outputs);
    else if (m)
        snprintf(refusal, 1024, "%s", numeric
                 ? "its inputs are not of the model's dims"
                 : "strings are not compared here");
    else if (diag.n_messages)
        snprintf(refusal, 1024, "%s", diag.message[0]);
    if (m)
        ir_module_free(m);
    free(bytes);
    ir_diag_release(&diag);
    return is_read;
}

static void run_test(struct run *run, const struct test *t)
{
    char name[64], outputs[MAX_VALUES][128], refusal[1024] = "", other[1024];
    bool passed = false, wrong = false;
    if (run->index++ % run->each)
        return;
    if (!read_names(t, name, outputs)) {
        printf("%s: no model\n", t->name);
        run->n_wrong++;
        return;
    }
    passed |= try_inputs(run, t, (struct kept){0, t->n_inputs}, outputs,
                         &wrong, refusal);
    if (t->n_inputs > 1)
        passed |= try_inputs(run, t, (struct kept){0, 1}, outputs, &wrong,
                             refusal);
    for (int i = 1; !passed && i < t->n_inputs; i++)
        passed = try_inputs(run, t, (struct kept){i, i + 1}, outputs, &wrong,
                            other);
    struct op *op = find_op(run, name);
    run->n_tests++;
    run->n_wrong += wrong;
    run->n_passed += passed && !wrong;
    run->n_refused += !passed;
    op->n_passed += passed && !wrong;
    if (!passed)
        add_reason(op, refusal);
}

/* ------------------------------------------------------------------ data -- */

static bool load(const char *path, struct ir_file *file)
{
    struct ir_diag diag;
    if (access(path, R_OK) != 0)
        return false;
    ir_diag_init(&diag);
    const bool good = ir_file_open(file, path, &diag);
    ir_diag_release(&diag);
    return good;
}

/* One folder: the model, and inputs and outputs up to the first missing. */
static void run_folder(struct run *run, const char *folder, const char *name)
{
    static const char *const side[] = {"input", "output"};
    struct ir_file files[1 + 2 * MAX_VALUES], *file = files;
    struct test t = {0};
    char path[4096];
    snprintf(t.name, sizeof t.name, "%s", name);
    snprintf(path, sizeof path, "%s/%s/model.onnx", folder, name);
    if (!load(path, file))
        return;
    t.model = file->data;
    t.model_size = file++->size;
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < MAX_VALUES; i++) {
            snprintf(path, sizeof path, "%s/%s/test_data_set_0/%s_%d.pb",
                     folder, name, side[s], i);
            if (!load(path, file))
                break;
            t.value[s][i] = file->data;
            t.size[s][i] = file++->size;
            *(s ? &t.n_outputs : &t.n_inputs) = i + 1;
        }
    run_test(run, &t);
    while (file > files)
        ir_file_close(--file);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void run_folders(struct run *run, const char *path)
{
    DIR *dir = opendir(path);
    char **names = NULL;
    int n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.') {
            names = ir_realloc_array(names, (size_t)n + 1, sizeof *names);
            names[n++] = strdup(e->d_name);
        }
    if (dir)
        closedir(dir);
    qsort(names, (size_t)n, sizeof *names, compare_names);
    for (int i = 0; i < n; i++) {
        run_folder(run, path, names[i]);
        free(names[i]);
    }
    free(names);
}

/* A file of many: see onnx_node/record.py. */
static bool take(const uint8_t **at, const uint8_t *end, const uint8_t **data,
                 size_t *size)
{
    uint32_t n;
    if (end - *at < 4)
        return false;
    memcpy(&n, *at, 4);
    if ((size_t)(end - *at) - 4 < n)
        return false;
    *data = *at + 4;
    *size = n;
    *at += 4 + n;
    return true;
}

static bool run_file(struct run *run, const struct ir_file *file)
{
    const uint8_t *at = file->data, *end = at + file->size, *name, *counts;
    while (at < end) {
        struct test t = {0};
        size_t n, n_counts;
        uint32_t count[2];
        if (!take(&at, end, &name, &n) || n >= sizeof t.name ||
            !take(&at, end, &counts, &n_counts) || n_counts != sizeof count ||
            !take(&at, end, &t.model, &t.model_size))
            return false;
        memcpy(t.name, name, n);
        memcpy(count, counts, sizeof count);
        if (count[0] > MAX_VALUES || count[1] > MAX_VALUES)
            return false;
        for (int s = 0; s < 2; s++)
            for (uint32_t i = 0; i < count[s]; i++)
                if (!take(&at, end, &t.value[s][i], &t.size[s][i]))
                    return false;
        t.n_inputs = (int)count[0];
        t.n_outputs = (int)count[1];
        run_test(run, &t);
    }
    return true;
}

/* ----------------------------------------------------------------- table -- */

static int compare_ops(const void *a, const void *b)
{
    return strcmp(((const struct op *)a)->name, ((const struct op *)b)->name);
}

static int compare_reasons(const void *a, const void *b)
{
    const struct reason *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->text, y->text);
}

static void print_reasons(struct ir_text *text, struct op *op)
{
    qsort(op->reason, (size_t)op->n_reasons, sizeof *op->reason,
          compare_reasons);
    for (int i = 0; i < op->n_reasons && i < 4; i++)
        ir_text_printf(text, "%s%s (%d)", i ? "; " : "", op->reason[i].text,
                       op->reason[i].n);
    if (op->n_reasons > 4)
        ir_text_puts(text, "; ...");
}

/* First the ops of which some test passes, then a list of the others. */
static void make_table(struct run *run, struct ir_text *text)
{
    ir_text_puts(text, "| op | passes | refused | why |\n|---|---|---|---|\n");
    qsort(run->op, (size_t)run->n_ops, sizeof *run->op, compare_ops);
    for (int i = 0; i < run->n_ops; i++) {
        struct op *op = &run->op[i];
        if (op->n_passed == 0)
            continue;
        ir_text_printf(text, "| `%s` | %d | %d | ", op->name, op->n_passed,
                       op->n_refused);
        print_reasons(text, op);
        ir_text_puts(text, " |\n");
    }
    ir_text_printf(text, "\nIn all %d of %d. No test passes of:", run->n_passed,
                   run->n_tests);
    for (int i = 0; i < run->n_ops; i++)
        if (run->op[i].n_passed == 0)
            ir_text_printf(text, " `%s`", run->op[i].name);
    ir_text_puts(text, ".\n");
}

/* The table stands between two comments of the page. */
static bool check_table(struct run *run, const char *path, bool update)
{
    static const char begin[] = "<!-- table -->\n", end[] = "<!-- end -->";
    struct ir_file file;
    struct ir_text page;
    struct ir_diag diag;
    ir_diag_init(&diag);
    ir_text_init(&page);
    if (!ir_file_open(&file, path, &diag)) {
        ir_diag_print(&diag, stdout);
        return false;
    }
    char *old = strndup((const char *)file.data, file.size);
    char *from = strstr(old, begin), *to = from ? strstr(from, end) : NULL;
    bool good = to != NULL;
    if (good) {
        ir_text_append(&page, old, (size_t)(from - old) + strlen(begin));
        make_table(run, &page);
        ir_text_puts(&page, to);
        good = !strcmp(page.data, old);
    }
    if (!good && to && update)
        good = ir_file_write(path, page.data, page.length, &diag);
    if (!good)
        printf("%s is not what the tests show; run with --update\n", path);
    free(old);
    ir_file_close(&file);
    ir_text_release(&page);
    ir_diag_release(&diag);
    return good;
}

static bool run_data(struct run *run, const char *path)
{
    struct ir_file file;
    DIR *dir = opendir(path);
    if (dir) {
        closedir(dir);
        run_folders(run, path);
        return true;
    }
    if (!load(path, &file)) {
        printf("%s is not there\n", path);
        exit(77);
    }
    const bool good = run_file(run, &file);
    if (!good)
        printf("%s is cut off\n", path);
    ir_file_close(&file);
    return good;
}

int main(int argc, char **argv)
{
    static struct run run = {.each = 1};
    const char *table = NULL;
    bool update = false, good = true;
    for (int i = 0; argc > 1 && i < predictor_count; i++)
        if (!strcmp(predictors[i].name, argv[1]))
            run.predictor = &predictors[i];
    if (!run.predictor) {
        printf("usage: test_onnx_nodes PREDICTOR [--each N] DATA... [--table "
               "FILE] [--update]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--update"))
            update = true;
        else if (!strcmp(argv[i], "--table") && i + 1 < argc)
            table = argv[++i];
        else if (!strcmp(argv[i], "--each") && i + 1 < argc &&
                 atoi(argv[i + 1]) > 0)
            run.each = atoi(argv[++i]);
        else
            good = run_data(&run, argv[i]) && good;
    }
    good = good && run.n_wrong == 0 && run.n_passed > 0;
    if (table)
        good = check_table(&run, table, update) && good;
    printf("%s: %d tests: %d pass, %d are refused, %d are wrong; %d modules "
           "cannot be compiled\n", run.predictor->name, run.n_tests,
           run.n_passed, run.n_refused, run.n_wrong, run.n_absent);
    return !good;
}
