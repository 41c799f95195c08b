/* cmd_train.c: `treenail train`, from a CSV file to a model.
 *
 * The split comes first; the test rows are seen once, at the end, by the
 * interpreter with the very module that is written. A gate that fails leaves
 * no model behind. Parameters are those of the trainer's table.
 */
#include "cli/cli.h"

#include "trainer/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SETTINGS 128
struct setting {
    char name[CLI_MAX_NAME];
    const char *value;
};

/* The least or the most that a metric of the test rows may be. */
struct gate {
    const struct tr_metric *metric;
    bool at_most;
    double bound;
};

struct options {
    const char *output, *learner, *name;
    struct cli_data_options data;
    bool json;
    int n_settings, n_gates;
    struct setting setting[MAX_SETTINGS]; /* parameters as they came */
    struct gate gate[MAX_SETTINGS];
};

static const struct cli_option table[] = {
    CLI_TEXT(data.target, "target", 0, "COLUMN", "what to learn"),
    CLI_TEXT(output, "output", 'o', "FILE",
             "write the model there (.tn or .tnir)"),
    CLI_TEXT(learner, "learner", 0, "L",
             "boost (default), forest, tree or net"),
    CLI_REAL(data.test_fraction, "test-fraction", 0, "F", 0, 0.99,
             "of the rows, kept for the metrics (default 0.2)"),
    CLI_REAL(data.valid_fraction, "valid-fraction", 0, "F", 0, 0.99,
             "of the rows, for early stopping (default 0)"),
    CLI_INT(data.seed, "seed", 0, "S", 0, 9007199254740992.0,
            "of the split and the learner (default 1)"),
    CLI_TEXT(data.weight, "weight", 0, "COLUMN", "row weights, none negative"),
    CLI_TEXT(data.csv.ignore, "ignore", 0, "A,B",
             "columns that are no features"),
    CLI_TEXT(data.category, "category", 0, "A,B",
             "columns of numbers that are categories"),
    CLI_TEXT(data.number, "number", 0, "A,B",
             "columns in which a text is an error (default: a\n"
             "text makes a column categories)"),
    CLI_FLAG(data.csv.header, "header", 0,
             "DATA's first line has the columns' names\n"
             "(default: when it holds no number)"),
    CLI_FLAG(data.csv.no_header, "no-header", 0,
             "DATA's first line is a row: columns are c1, c2..."),
    CLI_TEXT(data.csv.delimiter, "delimiter", 0, "C",
             "between fields: one character, or tab"),
    CLI_TEXT(name, "name", 0, "N",
             "of the model (default: from the output file)"),
    CLI_FLAG(json, "json", 0, "print the report as JSON"),
};

/* ------------------------------------------ parameters and gates by name -- */

static bool copy_name(char name[CLI_MAX_NAME], const char *from, size_t n)
{
    snprintf(name, CLI_MAX_NAME, "%.*s", (int)n, from);
    return true;
}

/* Parameters and their aliases, then min-METRIC and max-METRIC. */
static bool setting_name(int i, char name[CLI_MAX_NAME])
{
    for (int p = 0; p < tr_param_count; p++) {
        const char *own = tr_param_table[p].name;
        if (i-- == 0)
            return copy_name(name, own, strlen(own));
        for (const char *at = tr_param_table[p].aliases; at && *at;) {
            const size_t n = strcspn(at, " ");
            if (i-- == 0)
                return copy_name(name, at, n);
            at += n + (at[n] == ' ');
        }
    }
    if (i >= 2 * tr_metric_count)
        return false;
    snprintf(name, CLI_MAX_NAME, "%s-%s", i % 2 ? "max" : "min",
             tr_metrics[i / 2].name);
    return true;
}

static int take_gate(struct options *o, const struct tr_metric *metric,
                     bool at_most, const char *value)
{
    struct gate *gate = &o->gate[o->n_gates++];
    *gate = (struct gate){.metric = metric, .at_most = at_most};
    if (ir_parse_double(value, value + strlen(value), &gate->bound) &&
        !isnan(gate->bound))
        return CLI_OK;
    return cli_usage_error(&cli_train, "option --%s-%s: \"%s\" is no number",
                           at_most ? "max" : "min", metric->name, value);
}

static int take_setting(void *options, const char *name, const char *value)
{
    struct options *o = options;
    if (o->n_settings == MAX_SETTINGS || o->n_gates == MAX_SETTINGS)
        return cli_usage_error(&cli_train, "more than %d parameters",
                               MAX_SETTINGS);
    if (!strncmp(name, "min-", 4) || !strncmp(name, "max-", 4))
        return take_gate(o, tr_metric_find(name + 4), name[1] == 'a', value);
    struct setting *setting = &o->setting[o->n_settings++];
    copy_name(setting->name, name, strlen(name));
    setting->value = value;
    return CLI_OK;
}

static void print_settings(FILE *to)
{
    fputs("  --min-METRIC X, --max-METRIC X\n"
          "                          exit with 3, and write no model, when "
          "the test rows\n"
          "                          give less or more\n\nmetrics:\n", to);
    for (int i = 0; i < tr_metric_count; i++)
        fprintf(to, "  %-22s  %s\n", tr_metrics[i].name,
                tr_metrics[i].summary);
    fputs("\nlearners:\n", to);
    for (int i = 0; i < tr_learner_count; i++) {
        const struct tr_learner *learner = &tr_learners[i];
        fprintf(to, "  %-22s  %s\n", learner->name, learner->summary);
        if (*learner->defaults)
            fprintf(to, "  %-22s  (defaults: %s)\n", "", learner->defaults);
    }
    fputs("\nparameters, each an option:\n", to);
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        fprintf(to, "  --%-20s  %s", p->name, p->summary);
        if (*p->fallback)
            fprintf(to, " (default %s)", p->fallback);
        fputc('\n', to);
    }
    fputs("\nlayers of a net, in their order, a ; between them or none:\n", to);
    for (int i = 0; tr_layer_usage(i); i++)
        fprintf(to, "  %s\n", tr_layer_usage(i));
}

static bool set_params(struct tr_params *params, const struct options *o,
                       struct ir_diag *diag)
{
    const char *name = o->learner ? o->learner : "boost";
    const struct tr_learner *learner = tr_learner_find(name);
    if (!learner)
        return ir_error(diag, ir_loc_file(NULL),
                        "option --learner: there is no learner named \"%s\" "
                        "(there are: boost, forest, tree, net)", name);
    tr_params_init(params, learner);
    params->seed = (uint64_t)o->data.seed;
    for (int i = 0; i < o->n_settings; i++)
        if (!tr_params_set(params, o->setting[i].name, o->setting[i].value,
                           diag))
            return false;
    return true;
}

/* -------------------------------------------------------------- scoring -- */

/* The test rows as metrics want them. */
struct scores {
    struct tr_scored scored;
    double *target, *prediction, *weight;
    int64_t n_unknown; /* rows of classes that training has not seen */
};

static void scores_release(struct scores *s)
{
    free(s->target);
    free(s->prediction);
    free(s->weight);
}

/* The class of a target, as the model's labels have it; -1 when unknown. */
static double class_of(const struct ir_column *column, double value,
                       const struct ir_output *class_output)
{
    for (int i = 0; i < class_output->n_labels; i++) {
        const char *label = class_output->labels[i];
        double number;
        if (column->kind == IR_CATEGORY
                ? !strcmp(column->categories[(int)value], label)
                : ir_parse_double(label, label + strlen(label), &number) &&
                  number == value)
            return i;
    }
    return class_output->n_labels ? -1 : value;
}

/* Evaluates the module's output, of f32 or f64, on n rows of the frame from
 * `first`. */
static void predict_block(const struct ir_module *module, int output,
                          const struct tr_frame *frame, const int *column,
                          int64_t first, int64_t n, double *room, double *out)
{
    const int width = module->n_columns;
    const struct ir_type *type = &module->outputs[output].value->type;
    for (int64_t r = 0; r < n; r++)
        for (int c = 0; c < width; c++)
            room[r * width + c] = frame->values[column[c]][first + r];
    const struct ir_rows rows = {IR_F64, room, n, width, 1};
    ir_eval(module, output, &rows, out);
    /* Numbers of half the size fill the first half: from the last on they can
     * be widened in place. */
    for (int64_t i = n * ir_type_volume(type); type->dtype == IR_F32 && i > 0;
         i--) {
        float narrow;
        memcpy(&narrow, (const float *)(const void *)out + i - 1,
               sizeof(narrow));
        out[i - 1] = (double)narrow;
    }
}

static bool predict_frame(const struct ir_module *module, int output,
                          const struct tr_frame *frame, double *out,
                          struct ir_diag *diag)
{
    enum { BLOCK = 1024 };
    const int width = module->n_columns;
    const struct ir_type *type = &module->outputs[output].value->type;
    const int64_t n_out = ir_type_volume(type);
    double *room = cli_alloc(BLOCK, 8 * (uint64_t)width, "rows", diag);
    int *column = cli_alloc((uint64_t)width, sizeof(int), "columns", diag);
    bool good = room && column;
    for (int c = 0; good && c < width; c++)
        column[c] = tr_frame_find(frame, module->columns[c].name);
    for (int64_t at = 0; good && at < frame->n_rows; at += BLOCK) {
        const int64_t left = frame->n_rows - at;
        predict_block(module, output, frame, column, at,
                      left < BLOCK ? left : BLOCK, room, out + at * n_out);
    }
    free(room);
    free(column);
    return good;
}

/* Drops the rows whose class the model does not know: no metric is defined
 * for them. */
static void drop_unknown(struct scores *s, int64_t n_out)
{
    int64_t kept = 0;
    for (int64_t r = 0; r < s->scored.n_rows; r++) {
        if (s->target[r] < 0 && s->scored.task != TR_REGRESSION)
            continue;
        s->target[kept] = s->target[r];
        if (s->weight)
            s->weight[kept] = s->weight[r];
        memmove(s->prediction + kept * n_out, s->prediction + r * n_out,
                (size_t)n_out * sizeof(double));
        kept++;
    }
    s->n_unknown = s->scored.n_rows - kept;
    s->scored.n_rows = kept;
}

static void find_targets(struct scores *s, const struct tr_frame *frame,
                         const struct ir_module *module,
                         const struct options *o)
{
    const int target = tr_frame_find(frame, o->data.target);
    const int weight =
        o->data.weight ? tr_frame_find(frame, o->data.weight) : -1;
    const int class_output = ir_find_output(module, "class");
    for (int64_t r = 0; r < frame->n_rows; r++) {
        const double v = frame->values[target][r];
        s->target[r] = class_output < 0 ? v
                     : class_of(&frame->columns[target], v,
                                &module->outputs[class_output]);
        if (s->weight)
            s->weight[r] = weight < 0 ? 1 : frame->values[weight][r];
    }
}

static bool score(struct scores *s, const struct tr_frame *frame,
                  const struct ir_module *module,
                  const struct tr_report *report, const struct options *o,
                  struct ir_diag *diag)
{
    const int output = ir_find_output(
        module, report->task == TR_REGRESSION ? "value" : "probability");
    const int64_t n_out = ir_type_volume(&module->outputs[output].value->type);
    const uint64_t n = (uint64_t)frame->n_rows;
    s->target = cli_alloc(n, 8, "rows", diag);
    s->weight = o->data.weight ? cli_alloc(n, 8, "rows", diag) : NULL;
    s->prediction = cli_alloc(n, 8 * (uint64_t)n_out, "rows", diag);
    if (!s->target || !s->prediction || (o->data.weight && !s->weight) ||
        !predict_frame(module, output, frame, s->prediction, diag))
        return false;
    find_targets(s, frame, module, o);
    s->scored = (struct tr_scored){
        .task = report->task, .n_rows = frame->n_rows,
        .n_classes = report->n_classes, .target = s->target,
        .prediction = s->prediction, .weight = s->weight};
    drop_unknown(s, n_out);
    return true;
}

/* ------------------------------------------------------------ reporting -- */

/* One training run, for the report. */
struct run {
    const struct options *options;
    const struct cli_data *data;
    const struct tr_report *report;
    const struct scores *scores; /* NULL without test rows */
    double seconds;              /* of everything */
};

static int64_t part_rows(const struct cli_data *data, enum tr_part part)
{
    return data->there[part] ? data->part[part].n_rows : 0;
}

/* The features by gain, most first; the name decides between equals. */
struct ranked {
    const char *name;
    double gain;
};

static int by_gain(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->gain != y->gain)
        return (x->gain < y->gain) - (x->gain > y->gain);
    return strcmp(x->name, y->name);
}

static void print_features(const struct tr_report *report)
{
    const size_t n = (size_t)report->n_features;
    struct ranked *ranked = ir_realloc_array(NULL, n + 1, sizeof(*ranked));
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        ranked[i] = (struct ranked){report->feature[i], report->gain[i]};
        sum += report->gain[i];
    }
    qsort(ranked, n, sizeof(*ranked), by_gain);
    printf("features     %zu, by gain:", n);
    for (size_t i = 0; i < n && i < 5 && ranked[i].gain > 0; i++)
        printf("%s %s %.0f%%", i ? "," : "", ranked[i].name,
               100 * ranked[i].gain / sum);
    putchar('\n');
    free(ranked);
}

static void print_metrics(const struct run *run)
{
    for (int i = 0; i < tr_metric_count; i++)
        if (tr_metrics[i].tasks & run->report->task)
            printf("  %-20s %.6g\n", tr_metrics[i].name,
                   tr_metrics[i].compute(&run->scores->scored));
}

static void print_report(const struct run *run)
{
    const struct tr_report *r = run->report;
    const struct cli_data *d = run->data;
    const int last = r->best_round - 1;
    printf("data         %" PRId64 " rows, %d columns: %" PRId64
           " to train, %" PRId64 " to validate, %" PRId64 " to test\n",
           d->n_rows, d->n_columns, part_rows(d, TR_TRAIN),
           part_rows(d, TR_VALID), part_rows(d, TR_TEST));
    printf("learner      %s, %s", r->learner, r->objective);
    if (r->n_classes)
        printf(" of %d classes", r->n_classes);
    if (r->n_parameters > 0) {
        printf("\nepochs       %d, that of %d kept: %" PRId64 " parameters\n",
               r->n_rounds, r->best_round, r->n_parameters);
        printf("features     %d\n", r->n_features);
    } else {
        printf("\nrounds       %d, %d kept: %d trees, %d leaves\n",
               r->n_rounds, r->best_round, r->n_trees, r->n_leaves);
        print_features(r);
    }
    if (last >= 0 && !isnan(r->train_metric[last]))
        printf("train        %s %.6g\n", r->metric, r->train_metric[last]);
    if (last >= 0 && !isnan(r->valid_metric[last]))
        printf("valid        %s %.6g\n", r->metric, r->valid_metric[last]);
    if (run->scores) {
        printf("test\n");
        print_metrics(run);
        if (run->scores->n_unknown)
            printf("  %" PRId64 " rows of classes that training has not "
                   "seen are left out\n", run->scores->n_unknown);
    }
    printf("seconds      %.2f, %.2f of them fitting on %d threads\n",
           run->seconds, r->seconds_bin + r->seconds_fit, r->n_threads);
}

static void json_features(struct cli_json *json,
                          const struct tr_report *report)
{
    cli_json_open(json, "features", '[');
    for (int i = 0; i < report->n_features; i++) {
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "name", report->feature[i]);
        cli_json_real(json, "gain", report->gain[i]);
        cli_json_int(json, "splits", report->splits[i]);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void print_json(const struct run *run)
{
    const struct tr_report *r = run->report;
    const int last = r->best_round - 1;
    struct cli_json json;
    cli_json_init(&json);
    cli_json_open(&json, NULL, '{');
    cli_json_string(&json, "data_sha256", run->data->sha256);
    cli_json_int(&json, "train_rows", part_rows(run->data, TR_TRAIN));
    cli_json_int(&json, "valid_rows", part_rows(run->data, TR_VALID));
    cli_json_int(&json, "test_rows", part_rows(run->data, TR_TEST));
    cli_json_string(&json, "learner", r->learner);
    cli_json_string(&json, "objective", r->objective);
    cli_json_int(&json, "classes", r->n_classes);
    cli_json_int(&json, "rounds", r->n_rounds);
    cli_json_int(&json, "best_round", r->best_round);
    cli_json_int(&json, "trees", r->n_trees);
    cli_json_int(&json, "leaves", r->n_leaves);
    cli_json_int(&json, "parameters", r->n_parameters);
    cli_json_string(&json, "metric", r->metric);
    cli_json_real(&json, "train_metric",
                  last >= 0 ? r->train_metric[last] : NAN);
    cli_json_real(&json, "valid_metric",
                  last >= 0 ? r->valid_metric[last] : NAN);
    cli_json_open(&json, "test", '{');
    for (int i = 0; run->scores && i < tr_metric_count; i++)
        if (tr_metrics[i].tasks & r->task)
            cli_json_real(&json, tr_metrics[i].name,
                          tr_metrics[i].compute(&run->scores->scored));
    cli_json_close(&json, '}');
    json_features(&json, r);
    cli_json_real(&json, "seconds", run->seconds);
    cli_json_real(&json, "seconds_bin", r->seconds_bin);
    cli_json_real(&json, "seconds_fit", r->seconds_bin + r->seconds_fit);
    cli_json_int(&json, "threads", r->n_threads);
    cli_json_close(&json, '}');
    cli_json_print(&json);
    cli_json_release(&json);
}

/* ---------------------------------------------------------------- gates -- */

/* The metrics of gates, which the fit refuses where the task has them not. */
static const struct tr_wanted *wanted_metrics(struct ir_arena *arena,
                                              const struct options *o)
{
    struct tr_wanted *wanted =
        ir_alloc_array(arena, (size_t)o->n_gates + 1, sizeof(*wanted));
    for (int i = 0; i < o->n_gates; i++) {
        const struct gate *gate = &o->gate[i];
        wanted[i] = (struct tr_wanted){
            ir_sprintf(arena, "option --%s-%s", gate->at_most ? "max" : "min",
                       gate->metric->name), gate->metric};
    }
    return wanted;
}

/* Every gate is looked at, so that one run tells all. */
static int check_gates(const struct run *run)
{
    const struct options *o = run->options;
    int code = CLI_OK;
    for (int i = 0; i < o->n_gates; i++) {
        const struct gate *gate = &o->gate[i];
        const double value = gate->metric->compute(&run->scores->scored);
        const bool met = gate->at_most ? value <= gate->bound
                                       : value >= gate->bound;
        if (met)
            continue;
        fprintf(stderr, "gate --%s-%s %.15g failed: the test rows give "
                "%.6g; no model was written\n",
                gate->at_most ? "max" : "min", gate->metric->name,
                gate->bound, value);
        code = CLI_CHECK_FAILED;
    }
    return code;
}

/* ------------------------------------------------------------------ run -- */

/* The line that says how training goes. */
struct line {
    struct cli_progress progress;
    double valid; /* the metric of the last epoch, or a NaN */
};

static bool show_round(void *user, int round, int n_rounds,
                       double train_metric, double valid_metric)
{
    struct line *line = user;
    (void)train_metric;
    line->valid = valid_metric;
    cli_progress_show(&line->progress, "training", round, n_rounds);
    return true;
}

static void show_step(void *user, const struct tr_net_step *step)
{
    struct line *line = user;
    char text[160], valid[40] = "";
    if (!line->progress.on)
        return;
    if (!isnan(line->valid))
        snprintf(valid, sizeof(valid), ", valid %.4g", line->valid);
    snprintf(text, sizeof(text),
             "training: epoch %d of %d, loss %.4g%s, rate %.3g",
             step->epoch, step->n_epochs, step->loss, valid,
             step->learning_rate);
    const double share = (double)step->batch / (double)step->n_batches;
    cli_progress_show(&line->progress, text, step->epoch - 1 + share,
                      step->n_epochs);
}

static char *model_name(struct ir_arena *arena, const struct options *o)
{
    if (o->name)
        return ir_strdup(arena, o->name);
    const char *slash = strrchr(o->output, '/');
    const char *base = slash ? slash + 1 : o->output;
    return ir_strndup(arena, base, strcspn(base, "."));
}

/* Fits, reports, checks the gates and writes. */
static int fit(struct run *run, const struct tr_params *params, double start,
               struct ir_diag *diag)
{
    const struct options *o = run->options;
    const struct cli_data *data = run->data;
    struct line line = {.valid = NAN};
    cli_progress_init(&line.progress);
    const struct tr_progress hook = {show_round, &line, show_step};
    const struct tr_task_spec spec = {.name = model_name(&diag->arena, o),
                                      .target = o->data.target,
                                      .weight = o->data.weight,
                                      .n_wanted = o->n_gates,
                                      .wanted = wanted_metrics(&diag->arena,
                                                               o)};
    struct tr_report report;
    struct ir_module *module = tr_fit(
        &data->part[TR_TRAIN],
        data->there[TR_VALID] ? &data->part[TR_VALID] : NULL, &spec, params,
        &hook, &report, diag);
    cli_progress_clear(&line.progress);
    if (!module)
        return report.bad_parameter ? CLI_BAD_USAGE : CLI_BAD_INPUT;
    struct scores scores = {0};
    int code = CLI_OK;
    run->report = &report;
    if (data->there[TR_TEST]) {
        run->scores = &scores;
        if (!score(&scores, &data->part[TR_TEST], module, &report, o, diag))
            code = CLI_BAD_INPUT;
    }
    if (code == CLI_OK) {
        run->seconds = cli_seconds() - start;
        if (o->json)
            print_json(run);
        else
            print_report(run);
        code = check_gates(run);
    }
    if (code == CLI_OK && !cli_write_model(module, o->output, diag))
        code = CLI_BAD_INPUT;
    scores_release(&scores);
    tr_report_release(&report);
    ir_module_free(module);
    return code;
}

static int check_options(const struct options *o)
{
    const struct cli_command *me = &cli_train;
    if (!o->data.target)
        return cli_usage_error(me, "--target COLUMN is missing");
    if (!o->output)
        return cli_usage_error(me, "-o FILE is missing");
    if (!cli_is_model_name(o->output))
        return cli_usage_error(me, "%s ends neither in .tn nor in .tnir",
                               o->output);
    if (!cli_csv_fits(me, &o->data.csv))
        return CLI_BAD_USAGE;
    if (o->data.weight && !strcmp(o->data.weight, o->data.target))
        return cli_usage_error(me, "option --weight: \"%s\" is the target",
                               o->data.weight);
    if (o->n_gates && o->data.test_fraction == 0)
        return cli_usage_error(me, "--%s-%s needs test rows: see "
                               "--test-fraction",
                               o->gate[0].at_most ? "max" : "min",
                               o->gate[0].metric->name);
    return CLI_OK;
}

/* Whether two names are of one file, be it there or not. */
static bool is_one_file(const char *a, const char *b)
{
    return !strcmp(a, b) || cli_is_same_file(a, b);
}

/* No file that is read is written to, nor one written twice; but a checkpoint
 * may follow the one that the fit goes on from. */
static int check_files(const char *path, const struct options *o,
                       const struct tr_params *p, struct ir_diag *diag)
{
    const char *what = is_one_file(p->checkpoint, path) ? "DATA"
                       : is_one_file(p->checkpoint, o->output) ? "the model"
                       : NULL;
    if (*p->checkpoint && what)
        return cli_usage_error(&cli_train, "option --checkpoint: %s is %s "
                               "itself", p->checkpoint, what);
    if (*p->resume && is_one_file(p->resume, o->output))
        return cli_usage_error(&cli_train, "%s is the checkpoint of --resume "
                               "itself", o->output);
    return cli_can_write(cli_resolve(&diag->arena, o->output), diag) &&
                   (!*p->checkpoint ||
                    cli_can_write(cli_resolve(&diag->arena, p->checkpoint),
                                  diag))
               ? CLI_OK : CLI_BAD_INPUT;
}

static int train(const char *path, const struct options *o,
                 struct ir_diag *diag)
{
    const double start = cli_seconds();
    struct tr_params params;
    if (!set_params(&params, o, diag))
        return CLI_BAD_USAGE;
    if (params.early_stopping_rounds && o->data.valid_fraction == 0)
        return cli_usage_error(&cli_train, "--early-stopping-rounds needs "
                               "validation rows: see --valid-fraction");
    struct cli_data data = {0};
    int code = check_files(path, o, &params, diag);
    if (code != CLI_OK)
        return code;
    code = cli_data_read(&data, path, &o->data, &params, diag);
    if (code == CLI_OK) {
        struct run run = {.options = o, .data = &data};
        code = fit(&run, &params, start, diag);
    }
    cli_data_release(&data);
    return code;
}

static int run(int argc, char **argv)
{
    struct options o = {.data = {.test_fraction = 0.2, .seed = 1}};
    struct cli_line line;
    if (!cli_parse(&cli_train, argc, argv, &o, &line))
        return line.exit_code;
    const int code = check_options(&o);
    if (code != CLI_OK)
        return code;
    if (cli_is_same_file(o.output, line.argument[0]))
        return cli_usage_error(&cli_train, "%s is DATA itself", o.output);
    struct ir_diag diag;
    ir_diag_init(&diag);
    return cli_finish(&diag, train(line.argument[0], &o, &diag));
}

const struct cli_command cli_train = {
    .name = "train",
    .summary = "Trains a model on a CSV file, and tests it.",
    .arguments = "DATA --target COLUMN -o FILE [options]",
    .min_arguments = 1, .max_arguments = 1,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "example: a model that is only written when it is good enough\n"
        "  treenail train loans.csv --target defaulted -o loans.tn "
        "--min-auc 0.75\n"
        "  treenail train prices.csv --target price -o prices.tn "
        "--learner forest\n",
    .run = run,
    .more_name = setting_name,
    .more_take = take_setting,
    .more_help = print_settings,
};
