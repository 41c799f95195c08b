/* net_checkpoint.c: the state of a fit as a file, and back.
 *
 * A checkpoint is a .tn file like any model's: a module whose outputs are
 * constants, the parameters and what the optimiser keeps, and whose facts are
 * counters. So what reads it is the container's reader, which trusts nothing.
 * The fact "fit" is a hash of all that a fit is a function of; a checkpoint of
 * another fit is refused, since going on from it would give a third one. The
 * facts "data" and "parameter.NAME" are for that message.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "1"

/* ------------------------------------------------------------- what fit -- */

/* Parameters that a fit may be continued with others of. */
static bool is_always_free(const char *name)
{
    static const char *const free_ones[] = {
        "checkpoint", "checkpoint_epochs", "resume", "metric",
        "early_stopping_rounds"};
    for (size_t i = 0; i < sizeof(free_ones) / sizeof(char *); i++)
        if (!strcmp(name, free_ones[i]))
            return true;
    return false;
}

/* How far schedules have come depends on `epochs`, those of equal steps aside.
 */
static bool is_free(const struct tr_params *p, const char *name)
{
    if (!strcmp(name, "epochs"))
        return p->warmup == 0 && strcmp(p->schedule, "linear") != 0 &&
               strcmp(p->schedule, "cosine") != 0;
    return is_always_free(name);
}

static void write_value(struct ir_text *text, const struct tr_params *params,
                        const struct tr_param *p)
{
    const void *at = (const char *)params + p->offset;
    switch (p->kind) {
    case TR_INT:
        ir_text_printf(text, "%d", *(const int *)at);
        break;
    case TR_SEED:
        ir_text_printf(text, "%llu",
                       (unsigned long long)*(const uint64_t *)at);
        break;
    case TR_FLOAT:
        ir_text_double(text, *(const double *)at);
        break;
    case TR_BOOL:
        ir_text_printf(text, "%d", *(const bool *)at);
        break;
    case TR_CHOICE:
    case TR_TEXT:
        ir_text_quoted(text, *(const char *const *)at);
        break;
    }
}

static void hash_values(struct ir_text *text, const void *values,
                        int64_t n, size_t size)
{
    char hex[65];
    ir_sha256(values, (size_t)n * size, hex);
    ir_text_printf(text, "%s\n", hex);
}

static void hash_frame(struct ir_text *text, const struct tr_fit_job *job,
                       const struct tr_rows *rows,
                       const struct tr_frame *frame)
{
    if (!frame)
        return;
    for (int i = 0; i < job->n_features; i++) {
        ir_text_quoted(text, frame->columns[job->columns[i]].name);
        hash_values(text, frame->values[job->columns[i]], rows->n,
                    sizeof(double));
    }
    hash_values(text, rows->target, rows->n, sizeof(double));
    if (rows->weight)
        hash_values(text, rows->weight, rows->n, sizeof(double));
}

static void hash_rows(struct ir_text *text, const struct tr_fit_job *job)
{
    for (int k = 0; k < job->n_classes; k++)
        ir_text_quoted(text, job->labels[k]);
    hash_frame(text, job, &job->train, job->frame);
    hash_frame(text, job, &job->valid, job->valid_frame);
}

/* The hash of that, which does not change while the fit goes on. */
static const char *data_hash_of(const struct tr_fit_job *job)
{
    struct ir_text text;
    if (*job->net->data_hash)
        return job->net->data_hash;
    ir_text_init(&text);
    hash_rows(&text, job);
    ir_sha256(text.data, text.length, job->net->data_hash);
    ir_text_release(&text);
    return job->net->data_hash;
}

/* The hash of all that the fit is a function of. */
static const char *identity_of(const struct tr_fit_job *job)
{
    struct ir_text text;
    if (*job->net->identity)
        return job->net->identity;
    ir_text_init(&text);
    ir_text_printf(&text, "%s\n", job->objective->name);
    for (int i = 0; i < tr_param_count; i++)
        if (tr_param_heeds(&tr_param_table[i], job->params->learner) &&
            !is_free(job->params, tr_param_table[i].name)) {
            ir_text_printf(&text, "%s=", tr_param_table[i].name);
            write_value(&text, job->params, &tr_param_table[i]);
            ir_text_puts(&text, "\n");
        }
    hash_rows(&text, job);
    ir_sha256(text.data, text.length, job->net->identity);
    ir_text_release(&text);
    return job->net->identity;
}

/* ------------------------------------------------- what tells fits apart -- */

/* Calls take(of, key, value) for the data and each parameter that a fit goes
 * by. */
static void each_detail(const struct tr_fit_job *job,
                        void (*take)(void *of, const char *key,
                                     const char *value), void *of)
{
    struct ir_text text, key;
    ir_text_init(&text);
    ir_text_init(&key);
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        if (!tr_param_heeds(p, job->params->learner) || is_always_free(p->name))
            continue;
        text.length = key.length = 0;
        write_value(&text, job->params, p);
        ir_text_printf(&key, "parameter.%s", p->name);
        take(of, key.data, text.data);
    }
    /* Last: a seed changes which rows of a file are learned from. */
    take(of, "data", data_hash_of(job));
    ir_text_release(&text);
    ir_text_release(&key);
}

static void note_detail(void *of, const char *key, const char *value)
{
    ir_set_fact(of, key, value);
}

/* What tells a checkpoint's fit from this one. */
struct difference {
    const struct tr_fit_job *job;
    const struct ir_module *module;
    struct ir_text text; /* of the first; empty when there is none */
};

static void find_difference(void *of, const char *key, const char *value)
{
    struct difference *d = of;
    const char *dot = strchr(key, '.'), *was = ir_get_fact(d->module, key);
    if (d->text.length || !was || !strcmp(was, value) ||
        (dot && is_free(d->job->params, dot + 1)))
        return;
    if (dot)
        ir_text_printf(&d->text, "%s was %s and is %s", dot + 1, was, value);
    else
        ir_text_printf(&d->text, "the rows to learn from differ (sha256 %.16s "
                       "was %.16s)", value, was);
}

static bool refuse_other(const struct tr_fit_job *job,
                         const struct ir_module *module, struct ir_diag *diag)
{
    struct difference d = {.job = job, .module = module};
    ir_text_init(&d.text);
    each_detail(job, find_difference, &d);
    ir_error(diag, ir_loc_file(job->params->resume),
             "a checkpoint of another fit: %s",
             d.text.length ? d.text.data : "data, parameters or seed differ");
    ir_text_release(&d.text);
    return false;
}

/* --------------------------------------------------------------- arrays -- */

/* One array of the state. */
struct array {
    const char *name;
    enum ir_dtype dtype;
    int64_t n;
    void *data; /* NULL: the optimiser needs none */
};
enum { N_ARRAYS = 5 };

static void list_arrays(const struct tr_fit_job *job,
                        struct array arrays[N_ARRAYS])
{
    const struct tr_net_fit *fit = job->net;
    const int64_t n = fit->net.n_params;
    const struct array all[N_ARRAYS] = {
        {"parameters", TR_REAL_DTYPE, n, fit->net.theta},
        {"best", TR_REAL_DTYPE, n, fit->best},
        {"first_moment", TR_REAL_DTYPE, n, fit->optimizer.first},
        {"second_moment", TR_REAL_DTYPE, n, fit->optimizer.second},
        {"valid_metric", IR_F64, fit->n_epochs, job->report->valid_metric}};
    memcpy(arrays, all, sizeof(all));
}

static bool add_array(struct ir_module *module, const struct array *array,
                      struct ir_diag *diag)
{
    if (!array->data)
        return true;
    const struct ir_attr value = ir_tensor_attr(
        "value",
        ir_tensor_view(module, array->dtype, array->n, array->data));
    struct ir_op *op =
        ir_add_op(module, IR_OP_constant, 0, NULL, 1, &value, diag);
    if (!op)
        return false;
    ir_add_output(module, array->name, &op->result[0]);
    return true;
}

static void set_number(struct ir_module *module, const char *key,
                       const char *fmt, ...) IR_PRINTF(3, 4);

static void set_number(struct ir_module *module, const char *key,
                       const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ir_set_fact(module, key, text);
}

bool tr_checkpoint_write(const struct tr_fit_job *job, struct ir_diag *diag)
{
    const struct tr_net_fit *fit = job->net;
    struct ir_module *module = ir_module_new("checkpoint");
    struct array arrays[N_ARRAYS];
    ir_set_fact(module, "source_format", "treenail-checkpoint " FORMAT);
    ir_set_fact(module, "fit", identity_of(job));
    each_detail(job, note_detail, module);
    set_number(module, "epoch", "%d", fit->n_epochs);
    set_number(module, "step", "%llu", (unsigned long long)fit->net.step);
    set_number(module, "best_epoch", "%d", fit->best_epoch);
    if (!isnan(fit->best_metric))
        set_number(module, "best_metric", "%a", fit->best_metric);
    list_arrays(job, arrays);
    bool good = true;
    for (int i = 0; good && i < N_ARRAYS; i++)
        good = add_array(module, &arrays[i], diag);
    good = good && ir_container_write(module, job->params->checkpoint, diag);
    ir_module_free(module);
    return good;
}

/* --------------------------------------------------------------- reading -- */

static bool bad_file(const char *path, struct ir_diag *diag, const char *what)
{
    return ir_error(diag, ir_loc_file(path), "%s", what);
}

/* A fact that is a whole number of [0, most]. */
static bool read_number(const struct ir_module *module, const char *key,
                        int64_t most, int64_t *value)
{
    const char *text = ir_get_fact(module, key);
    return text && ir_parse_int(text, text + strlen(text), value) &&
           *value >= 0 && *value <= most;
}

static bool read_array(const struct ir_module *module,
                       const struct array *array)
{
    if (!array->data || array->n == 0)
        return true;
    const int index = ir_find_output(module, array->name);
    if (index < 0)
        return false;
    const struct ir_op *op = module->outputs[index].value->op;
    if (op->kind != IR_OP_constant)
        return false;
    const struct ir_tensor *t = ir_attr_tensor(op, "value");
    if (t->type.dtype != array->dtype || t->type.rank != 1 ||
        t->type.dim[0] != array->n)
        return false;
    memcpy(array->data, t->data, ir_tensor_bytes(t));
    return true;
}

static bool read_counters(struct tr_fit_job *job,
                          const struct ir_module *module)
{
    struct tr_net_fit *fit = job->net;
    int64_t epoch, step, best;
    const char *metric = ir_get_fact(module, "best_metric"); /* NULL: a NaN */
    fit->best_metric = NAN;
    if (!read_number(module, "epoch", TR_MAX_EPOCHS, &epoch) ||
        !read_number(module, "step", INT64_MAX, &step) || epoch < 1 ||
        !read_number(module, "best_epoch", epoch, &best) ||
        (metric && !ir_parse_double(metric, metric + strlen(metric),
                                    &fit->best_metric)))
        return false;
    fit->n_epochs = (int)epoch;
    fit->net.step = (uint64_t)step;
    fit->best_epoch = (int)best;
    return step == epoch * fit->optimizer.steps_an_epoch;
}

static bool read_state(struct tr_fit_job *job, const struct ir_module *module,
                       struct ir_diag *diag)
{
    const char *path = job->params->resume;
    const char *format = ir_get_fact(module, "source_format");
    const char *fit = ir_get_fact(module, "fit");
    struct array arrays[N_ARRAYS];
    if (!format || strcmp(format, "treenail-checkpoint " FORMAT) != 0 || !fit)
        return bad_file(path, diag, "no checkpoint of a net");
    if (strcmp(fit, identity_of(job)) != 0)
        return refuse_other(job, module, diag);
    if (!read_counters(job, module))
        return bad_file(path, diag, "a checkpoint whose counters are damaged");
    if (job->net->n_epochs > job->params->epochs)
        return ir_error(diag, ir_loc_file(path),
                        "a checkpoint after epoch %d; the fit has %d epochs",
                        job->net->n_epochs, job->params->epochs);
    list_arrays(job, arrays);
    for (int i = 0; i < N_ARRAYS; i++)
        if (!read_array(module, &arrays[i]))
            return bad_file(path, diag,
                            "a checkpoint whose arrays are damaged");
    job->report->n_rounds = job->net->n_epochs;
    for (int i = 0; i < job->net->n_epochs; i++)
        job->report->train_metric[i] = NAN;
    return true;
}

bool tr_checkpoint_read(struct tr_fit_job *job, struct ir_diag *diag)
{
    struct ir_file file;
    if (!ir_file_open(&file, job->params->resume, diag))
        return false;
    if (!ir_container_detect(file.data, file.size)) {
        ir_file_close(&file);
        return bad_file(job->params->resume, diag, "no checkpoint of a net");
    }
    struct ir_module *module = ir_container_read(file, diag);
    const bool good = module && read_state(job, module, diag);
    ir_module_free(module);
    return good;
}
