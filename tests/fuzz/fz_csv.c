/* fz_csv.c: bytes -> CSV -> frame -> rows -> a small model.
 *
 *   byte 0    bits 0-1: the header (detected, yes, no); bit 2: ignore the
 *             column "a"; bit 3: "b" is a category; bits 4-6: 0 to 3 are a
 *             learner, with others nothing is fitted; bit 7: "w" is the weight
 *   byte 1    the delimiter, 0: detected
 *   byte 2-   the file
 *
 * Nothing may crash, hang or take memory out of proportion. A refusal has one
 * message, with the file's name in front. A frame's categories ascend and its
 * codes are theirs; a reader of the frame's own columns reads the same rows;
 * a fit gives a module that verifies and whose predictions are numbers of the
 * metric that was tracked, or one message.
 */
#include "fuzz/fuzz.h"
#include "trainer/trainer.h"

#include <math.h>

static void check_frame(const struct tr_frame *frame)
{
    for (int c = 0; c < frame->n_columns; c++) {
        const struct ir_column *column = &frame->columns[c];
        CHECK(tr_frame_find(frame, column->name) == c);
        for (int k = 1; k < column->n_categories; k++)
            CHECK(strcmp(column->categories[k - 1], column->categories[k]) < 0);
        for (int64_t r = 0; r < frame->n_rows; r++) {
            const double v = frame->values[c][r];
            if (column->kind == IR_CATEGORY && !isnan(v))
                CHECK(v >= 0 && v < column->n_categories && v == floor(v));
        }
    }
}

/* A frame's zeros have no sign. */
static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* The rows again, as prediction reads them. */
static void check_reader(const struct tr_frame *frame, const uint8_t *data,
                         size_t size, const struct tr_csv_options *options)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct tr_reader *reader =
        tr_reader_open_bytes(data, size, "fuzz.csv", options,
                             frame->n_columns, frame->columns, &diag);
    CHECK(reader);
    CHECK(tr_reader_elements(reader) == frame->n_columns);
    double *row = ir_realloc_array(NULL, (size_t)frame->n_columns + 1,
                                   sizeof(*row));
    for (int64_t r = 0; r < frame->n_rows; r++) {
        CHECK(tr_reader_next(reader, row, 1, &diag) == 1);
        for (int c = 0; c < frame->n_columns; c++)
            CHECK(same(row[c], frame->values[c][r]));
    }
    CHECK(tr_reader_next(reader, row, 1, &diag) == 0);
    free(row);
    tr_reader_close(reader);
    ir_diag_release(&diag);
}

/* The module's predictions, by the interpreter: n_outputs a row. */
static double *predict(const struct ir_module *module,
                       const struct tr_frame *frame, int n_outputs)
{
    const int width = module->n_columns;
    const size_t n = (size_t)frame->n_rows;
    double *rows = ir_realloc_array(NULL, n * (size_t)width, sizeof(double));
    double *out =
        ir_realloc_array(NULL, n * (size_t)n_outputs, sizeof(double));
    for (int c = 0; c < width; c++) {
        const int from = tr_frame_find(frame, module->columns[c].name);
        for (size_t i = 0; i < n; i++)
            rows[i * (size_t)width + (size_t)c] = frame->values[from][i];
    }
    const struct ir_rows batch = {IR_F64, rows, frame->n_rows, width, 1};
    ir_eval(module, 0, &batch, out);
    free(rows);
    if (module->outputs[0].value->type.dtype == IR_F64)
        return out;
    float *narrow = (float *)(void *)out;
    double *wide =
        ir_realloc_array(NULL, n * (size_t)n_outputs, sizeof(double));
    for (size_t i = 0; i < n * (size_t)n_outputs; i++)
        wide[i] = (double)narrow[i];
    free(out);
    return wide;
}

/* The classes of the targets, by the model's labels. */
static double *classes_of(const struct ir_module *module,
                          const struct tr_frame *frame, int target)
{
    const struct ir_output *class =
        &module->outputs[ir_find_output(module, "class")];
    const struct ir_column *column = &frame->columns[target];
    double *classes =
        ir_realloc_array(NULL, (size_t)frame->n_rows, sizeof(double));
    for (int64_t i = 0; i < frame->n_rows; i++) {
        const double v = frame->values[target][i];
        classes[i] = 0; /* of a row without weight it may be none */
        for (int k = 0; k < class->n_labels; k++) {
            const char *label = class->labels[k];
            double number;
            if (column->kind == IR_CATEGORY
                    ? !strcmp(column->categories[(int)v], label)
                    : ir_parse_double(label, label + strlen(label), &number) &&
                          number == v)
                classes[i] = k;
        }
    }
    return classes;
}

static void check_metric(const struct ir_module *module,
                         const struct tr_frame *frame,
                         const struct tr_task_spec *spec,
                         const struct tr_report *report)
{
    const int target = tr_frame_find(frame, spec->target);
    const int weight = spec->weight ? tr_frame_find(frame, spec->weight) : -1;
    const int n_outputs =
        report->task == TR_MULTICLASS ? report->n_classes : 1;
    double *prediction = predict(module, frame, n_outputs);
    double *classes = report->n_classes > 0
                          ? classes_of(module, frame, target) : NULL;
    const struct tr_scored scored = {
        report->task, frame->n_rows, report->n_classes,
        classes ? classes : frame->values[target], prediction,
        weight >= 0 ? frame->values[weight] : NULL};
    for (int64_t i = 0; i < frame->n_rows * n_outputs; i++)
        CHECK(isfinite(prediction[i]));
    const double metric = tr_metric_find(report->metric)->compute(&scored);
    const double tracked = report->valid_metric[report->best_round - 1];
    /* A net's module sums in another order than its trainer. */
    CHECK(report->n_parameters > 0
              ? fabs(metric - tracked) <= 1e-3 * fmax(1, fabs(tracked))
              : same(metric, tracked));
    free(prediction);
    free(classes);
}

/* A few small trees for the last column. */
static void check_fit(const struct tr_frame *frame, int learner, bool weigh)
{
    struct ir_diag diag;
    struct tr_params params;
    struct tr_report report;
    const struct tr_task_spec spec = {
        .target = frame->columns[frame->n_columns - 1].name,
        .weight = weigh ? "w" : NULL};
    ir_diag_init(&diag);
    tr_params_init(&params, &tr_learners[learner]);
    params.rounds = 3;
    params.min_child_rows = params.min_cat_rows = 1;
    params.threads = 1;
    params.epochs = 2;
    params.layers = "dense 5 relu";
    params.max_one_hot = 2;
    struct ir_module *module =
        tr_fit(frame, frame, &spec, &params, NULL, &report, &diag);
    if (module) {
        CHECK(diag.n_messages == 0);
        CHECK(ir_verify(module, &diag));
        check_metric(module, frame, &spec, &report);
        tr_report_release(&report);
        ir_module_free(module);
    } else {
        CHECK(diag.n_messages == 1);
    }
    ir_diag_release(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const ignored[] = {"a"}, *const category[] = {"b"};
    if (size < 2)
        return 0;
    const uint8_t bits = data[0];
    const struct tr_csv_options options = {
        .delimiter = (char)data[1],
        .header = (enum tr_header)((bits & 3) % 3),
        .n_ignore = bits >> 2 & 1, .ignore = ignored,
        .n_category = bits >> 3 & 1, .category = category,
    };
    struct ir_diag diag;
    struct tr_frame frame;
    ir_diag_init(&diag);
    if (tr_frame_parse(&frame, data + 2, size - 2, "fuzz.csv", &options, 0,
                       NULL, &diag)) {
        CHECK(diag.n_messages == 0);
        check_frame(&frame);
        check_reader(&frame, data + 2, size - 2, &options);
        const int learner = bits >> 4 & 7;
        if (learner < tr_learner_count && frame.n_columns > 0 &&
            frame.n_rows <= 200 && frame.n_columns <= 20)
            check_fit(&frame, learner, bits >> 7);
        tr_frame_release(&frame);
    } else {
        CHECK(diag.n_messages == 1);
        CHECK(strncmp(diag.message[0], "fuzz.csv", 8) == 0);
    }
    ir_diag_release(&diag);
    return 0;
}
