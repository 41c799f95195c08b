/* cmd_inspect.c: `treenail inspect`, what a model or a library is.
 *
 * Text is for people and may change; --json is for programs and has all of it.
 */
#include "cli/cli.h"

#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bool json, all;
    int64_t time;
};

static const struct cli_option table[] = {
    CLI_FLAG(json, "json", 0, "print JSON"),
    CLI_FLAG(all, "all", 'a',
             "print every column and label, not the first 20"),
    CLI_TIME(time),
};

enum { MAX_SHOWN = 20 };

/* ------------------------------------------------------------- forests -- */

/* What a forest's nodes ask of one element of the row. */
struct use {
    int64_t n_nodes, n_thresholds; /* distinct */
    double low, high;              /* of the thresholds */
};

struct forest_facts {
    struct ir_forest f;
    int max_depth;
    double mean_depth; /* of leaves */
    int64_t n_set_nodes, n_thresholds;
    struct use *use; /* [f.n_features] */
};

struct visit {
    int32_t node;
    int depth;
};

/* Depths of one tree's leaves. Numbering need not put parents first, and a
 * chain can be as deep as the tree is large: hence a stack of our own. */
static double tree_depth(struct forest_facts *facts, int tree,
                         struct visit *stack)
{
    const struct ir_forest *f = &facts->f;
    const int64_t first = f->tree_start[tree];
    const bool has_nodes = f->tree_start[tree + 1] > first;
    double sum = 0;
    int64_t top = 0;
    stack[top++] = (struct visit){has_nodes ? 0 : -1, 0};
    while (top > 0) {
        const struct visit v = stack[--top];
        if (v.node < 0) {
            sum += v.depth;
            if (v.depth > facts->max_depth)
                facts->max_depth = v.depth;
            continue;
        }
        stack[top++] = (struct visit){f->left[first + v.node], v.depth + 1};
        stack[top++] = (struct visit){f->right[first + v.node], v.depth + 1};
    }
    return sum;
}

/* A numeric node's test, for sorting. */
struct test {
    int32_t feature;
    double threshold;
};

/* A NaN comes last: sorting needs an order of all there is. */
static int by_feature(const void *a, const void *b)
{
    const struct test *x = a, *y = b;
    if (x->feature != y->feature)
        return (x->feature > y->feature) - (x->feature < y->feature);
    if (isnan(x->threshold) || isnan(y->threshold))
        return !!isnan(x->threshold) - !!isnan(y->threshold);
    return (x->threshold > y->threshold) - (x->threshold < y->threshold);
}

static void count_thresholds(struct forest_facts *facts, struct test *test,
                             int64_t n)
{
    qsort(test, (size_t)n, sizeof(*test), by_feature);
    for (int64_t i = 0; i < n; i++) {
        struct use *use = &facts->use[test[i].feature];
        if (use->n_thresholds == 0)
            use->low = test[i].threshold;
        else if (by_feature(&test[i - 1], &test[i]) == 0)
            continue;
        use->high = test[i].threshold;
        use->n_thresholds++;
        facts->n_thresholds++;
    }
}

static void forest_facts(struct forest_facts *facts, const struct ir_op *op,
                         struct ir_arena *arena)
{
    *facts = (struct forest_facts){0};
    ir_forest_view(op, &facts->f);
    const struct ir_forest *f = &facts->f;
    facts->use = ir_alloc_array(arena, (size_t)f->n_features,
                                sizeof(*facts->use));
    struct test *test = ir_realloc_array(NULL, (size_t)f->n_nodes + 1,
                                         sizeof(*test));
    int64_t n_tests = 0;
    for (int64_t i = 0; i < f->n_nodes; i++) {
        facts->use[f->feature[i]].n_nodes++;
        if (f->flags[i] & IR_NODE_CATEGORICAL)
            facts->n_set_nodes++;
        else
            test[n_tests++] = (struct test){
                f->feature[i],
                ir_real(f->threshold, f->in_dtype, (size_t)i)};
    }
    count_thresholds(facts, test, n_tests);
    free(test);
    struct visit *stack = ir_realloc_array(NULL, (size_t)f->n_nodes + 2,
                                           sizeof(*stack));
    double sum = 0;
    for (int t = 0; t < f->n_trees; t++)
        sum += tree_depth(facts, t, stack);
    free(stack);
    facts->mean_depth = f->n_leaves ? sum / f->n_leaves : 0;
}

static bool is_forest(const struct ir_op *op)
{
    return op->kind == IR_OP_trees || op->kind == IR_OP_forest;
}

static void print_forest(const struct forest_facts *facts)
{
    const struct ir_forest *f = &facts->f;
    printf("forest          %d trees, %d nodes, %d leaves, depth %d (mean "
           "%.1f)\n", f->n_trees, f->n_nodes, f->n_leaves,
           facts->max_depth, facts->mean_depth);
    printf("                %" PRId64 " distinct thresholds of %s, %" PRId64
           " set nodes, sums in %s\n", facts->n_thresholds,
           ir_dtype_name(f->in_dtype), facts->n_set_nodes,
           ir_dtype_name(f->sum_dtype));
    if (f->coef_start)
        printf("                linear leaves\n");
}

static void json_forest(struct cli_json *json,
                        const struct forest_facts *facts)
{
    const struct ir_forest *f = &facts->f;
    cli_json_open(json, NULL, '{');
    cli_json_int(json, "trees", f->n_trees);
    cli_json_int(json, "nodes", f->n_nodes);
    cli_json_int(json, "leaves", f->n_leaves);
    cli_json_int(json, "targets", f->n_targets);
    cli_json_int(json, "max_depth", facts->max_depth);
    cli_json_real(json, "mean_depth", facts->mean_depth);
    cli_json_int(json, "distinct_thresholds", facts->n_thresholds);
    cli_json_int(json, "set_nodes", facts->n_set_nodes);
    cli_json_bool(json, "linear_leaves", f->coef_start != NULL);
    cli_json_string(json, "threshold_dtype", ir_dtype_name(f->in_dtype));
    cli_json_string(json, "sum_dtype", ir_dtype_name(f->sum_dtype));
    cli_json_open(json, "features", '[');
    for (int i = 0; i < f->n_features; i++) {
        cli_json_open(json, NULL, '{');
        cli_json_int(json, "nodes", facts->use[i].n_nodes);
        cli_json_int(json, "distinct_thresholds",
                     facts->use[i].n_thresholds);
        if (facts->use[i].n_thresholds) {
            cli_json_real(json, "lowest", facts->use[i].low);
            cli_json_real(json, "highest", facts->use[i].high);
        }
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
    cli_json_close(json, '}');
}

/* ------------------------------------------------- columns and outputs -- */

static const char *kind_name(enum ir_column_kind kind)
{
    return kind == IR_NUMBER ? "number"
         : kind == IR_CATEGORY ? "category" : "tensor";
}

/* A name for the terminal: quoted where it could be misread or where a
 * terminal would obey it. */
static const char *shown(struct ir_arena *arena, const char *name)
{
    bool plain = *name && *name != ' ';
    for (const char *s = name; *s; s++)
        plain = plain && (unsigned char)*s >= ' ' && *s != 0x7f &&
                !strchr(",\"\\", *s);
    if (plain)
        return name;
    struct ir_text text;
    ir_text_init(&text);
    ir_text_quoted(&text, name);
    char *copy = ir_strdup(arena, text.data);
    ir_text_release(&text);
    return copy;
}

static void print_names(struct ir_arena *arena, int n,
                        const char *const *names, bool all)
{
    const int most = all ? n : n < MAX_SHOWN ? n : MAX_SHOWN;
    for (int i = 0; i < most; i++)
        printf("%s%s", i ? ", " : "", shown(arena, names[i]));
    if (n > most)
        printf(", ... %d more", n - most);
}

static void print_columns(struct cli_source *source, bool all)
{
    const int n = source->n_columns;
    const int most = all ? n : n < MAX_SHOWN ? n : MAX_SHOWN;
    printf("columns         %d, %" PRId64 " numbers a row\n", n,
           source->n_elements);
    for (int i = 0; i < most; i++) {
        const struct ir_column *c = &source->columns[i];
        printf("  %-13s %s", shown(&source->arena, c->name),
               kind_name(c->kind));
        if (c->n_elements != 1)
            printf(" of %" PRId64, c->n_elements);
        if (c->n_categories) {
            printf(" of %d: ", c->n_categories);
            print_names(&source->arena, c->n_categories, c->categories, all);
        }
        putchar('\n');
    }
    if (n > most)
        printf("  ... %d more (--all)\n", n - most);
}

static void print_outputs(struct cli_source *source, bool all)
{
    printf("outputs         %d\n", source->n_results);
    for (int i = 0; i < source->n_results; i++) {
        const struct cli_result *r = &source->results[i];
        printf("  %-13s %s", shown(&source->arena, r->name),
               ir_dtype_name(r->dtype));
        if (r->n_elements != 1)
            printf(" x %" PRId64, r->n_elements);
        if (r->n_labels) {
            printf(": ");
            print_names(&source->arena, r->n_labels, r->labels, all);
        }
        if (source->library.model && source->library.model->outputs[i].max_ulp)
            printf(", within %g ulp",
                   source->library.model->outputs[i].max_ulp);
        putchar('\n');
    }
}

static void json_names(struct cli_json *json, const char *key, int n,
                       const char *const *names)
{
    if (!n)
        return;
    cli_json_open(json, key, '[');
    for (int i = 0; i < n; i++)
        cli_json_string(json, NULL, names[i]);
    cli_json_close(json, ']');
}

static void json_schema(struct cli_json *json, const struct cli_source *source)
{
    cli_json_open(json, "columns", '[');
    for (int i = 0; i < source->n_columns; i++) {
        const struct ir_column *c = &source->columns[i];
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "name", c->name);
        cli_json_string(json, "kind", kind_name(c->kind));
        cli_json_int(json, "elements", c->n_elements);
        json_names(json, "categories", c->n_categories,
                   (const char *const *)c->categories);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
    cli_json_open(json, "outputs", '[');
    for (int i = 0; i < source->n_results; i++) {
        const struct cli_result *r = &source->results[i];
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "name", r->name);
        cli_json_string(json, "dtype", ir_dtype_name(r->dtype));
        cli_json_int(json, "elements", r->n_elements);
        json_names(json, "labels", r->n_labels, r->labels);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

/* --------------------------------------------------------------- models -- */

/* The file itself, whatever is in it. */
struct file_facts {
    const char *path;
    int64_t bytes;
    char sha256[65];
    struct cli_code_size size; /* of a library */
};

static bool read_file_facts(struct file_facts *facts, const char *path,
                            struct ir_diag *diag)
{
    struct ir_file file;
    if (!ir_file_open(&file, path, diag))
        return false;
    facts->path = path;
    facts->bytes = (int64_t)file.size;
    ir_sha256(file.data, file.size, facts->sha256);
    cli_code_size(&facts->size, &file, &diag->arena);
    ir_file_close(&file);
    return true;
}

static void print_file(const struct file_facts *file, const char *kind)
{
    char size[32];
    printf("file            %s, a %s (%s)\n", file->path, kind,
           cli_size_text(file->bytes, size));
    printf("sha256          %s\n", file->sha256);
}

static void json_file(struct cli_json *json, const struct file_facts *file,
                      const char *kind)
{
    cli_json_string(json, "file", file->path);
    cli_json_string(json, "kind", kind);
    cli_json_int(json, "bytes", file->bytes);
    cli_json_string(json, "sha256", file->sha256);
}

/* Bytes of nets' weights, by dtype. */
struct weight_bytes {
    int64_t of[IR_N_DTYPES];
    bool any;
};

static struct weight_bytes weight_bytes(const struct ir_module *m)
{
    struct weight_bytes bytes = {.any = false};
    for (int i = 0; i < m->n_ops; i++) {
        const struct ir_op *op = m->ops[i];
        const struct ir_tensor *t = ir_attr_tensor(
            op, op->kind == IR_OP_scan ? "recurrent" : "weights");
        if (!t)
            continue;
        bytes.of[t->type.dtype] += (int64_t)ir_tensor_bytes(t);
        bytes.any = true;
    }
    return bytes;
}

static void print_weights(const struct ir_module *m)
{
    const struct weight_bytes bytes = weight_bytes(m);
    const char *comma = "";
    char text[32];
    if (!bytes.any)
        return;
    printf("weights        ");
    for (int d = 0; d < IR_N_DTYPES; d++) {
        if (!bytes.of[d])
            continue;
        printf("%s %s of %s", comma, cli_size_text(bytes.of[d], text),
               ir_dtype_name((enum ir_dtype)d));
        comma = ",";
    }
    putchar('\n');
}

static void json_weights(struct cli_json *json, const struct ir_module *m)
{
    const struct weight_bytes bytes = weight_bytes(m);
    if (!bytes.any)
        return;
    cli_json_open(json, "weight_bytes", '{');
    for (int d = 0; d < IR_N_DTYPES; d++)
        if (bytes.of[d])
            cli_json_int(json, ir_dtype_name((enum ir_dtype)d), bytes.of[d]);
    cli_json_close(json, '}');
}

/* Of nets of other ops only those that do stream say so. */
static bool may_stream(const struct ir_module *m)
{
    for (int i = 0; i < m->n_ops; i++)
        if (m->ops[i]->kind == IR_OP_scan || m->ops[i]->kind == IR_OP_conv)
            return true;
    return false;
}

/* Whether the model can be taken step by step, or why not. */
static void print_streaming(struct ir_module *m)
{
    struct ir_text why;
    ir_text_init(&why);
    struct ir_stream *stream = pass_stream(m, &why);
    const int64_t start =
        stream && stream->start ? ir_row_elements(stream->start) : 0;
    if (stream)
        printf("streaming       a step of %" PRId64 " numbers, %d memories",
               stream->row.outer * stream->row.inner, stream->n_memories);
    if (stream && stream->frames > 1)
        printf(", %" PRId64 " places along time a step", stream->frames);
    if (start)
        printf(", a start of %" PRId64 " numbers", start);
    if (stream)
        putchar('\n');
    else if (may_stream(m))
        printf("streaming       no: %s\n", why.data);
    pass_stream_free(stream);
    ir_text_release(&why);
}

static void json_streaming(struct cli_json *json, struct ir_module *m)
{
    struct ir_text why;
    ir_text_init(&why);
    struct ir_stream *stream = pass_stream(m, &why);
    cli_json_bool(json, "streams", stream != NULL);
    if (!stream)
        cli_json_string(json, "streams_not", why.data);
    pass_stream_free(stream);
    ir_text_release(&why);
}

static void print_model(struct cli_source *source, const struct options *o,
                        const struct file_facts *file)
{
    const struct ir_module *m = source->module;
    printf("name            %s\n", shown(&source->arena, m->name));
    for (int i = 0; i < m->n_facts; i++) {
        if (!strcmp(m->facts[i].value, file->sha256))
            continue; /* the source is this file: said already */
        printf("%-15s %s\n", shown(&source->arena, m->facts[i].key),
               shown(&source->arena, m->facts[i].value));
    }
    for (int i = 0; i < m->n_ops; i++)
        if (is_forest(m->ops[i])) {
            struct forest_facts facts;
            forest_facts(&facts, m->ops[i], &source->arena);
            print_forest(&facts);
        }
    print_weights(m);
    print_columns(source, o->all);
    print_outputs(source, o->all);
    printf("ops             %d:", m->n_ops);
    const int most = o->all || m->n_ops < MAX_SHOWN ? m->n_ops : MAX_SHOWN;
    for (int i = 0; i < most; i++)
        printf(" %s", ir_op_table[m->ops[i]->kind].name);
    printf("%s\n", most < m->n_ops ? " ..." : "");
    print_streaming(source->module);
}

static void json_model(struct cli_json *json, struct cli_source *source)
{
    const struct ir_module *m = source->module;
    cli_json_string(json, "name", m->name);
    cli_json_open(json, "facts", '{');
    for (int i = 0; i < m->n_facts; i++)
        cli_json_string(json, m->facts[i].key, m->facts[i].value);
    cli_json_close(json, '}');
    json_schema(json, source);
    cli_json_open(json, "ops", '[');
    for (int i = 0; i < m->n_ops; i++)
        cli_json_string(json, NULL, ir_op_table[m->ops[i]->kind].name);
    cli_json_close(json, ']');
    json_weights(json, m);
    cli_json_open(json, "forests", '[');
    for (int i = 0; i < m->n_ops; i++)
        if (is_forest(m->ops[i])) {
            struct forest_facts facts;
            forest_facts(&facts, m->ops[i], &source->arena);
            json_forest(json, &facts);
        }
    cli_json_close(json, ']');
    if (may_stream(m))
        json_streaming(json, source->module);
}

/* ------------------------------------------------------------- libraries -- */

/* A line a level; what all levels call, as if-else code, is the lowest's. */
static void print_code(const struct cli_code_size *size,
                       const struct tn_model *m)
{
    char text[32];
    printf("code            %s\n", cli_size_text(size->code_bytes, text));
    for (uint32_t l = 0; l < m->n_isa; l++) {
        int64_t sum = 0;
        for (int i = 0; i < size->n; i++)
            sum += strcmp(size->code[i].isa, m->isa[l]) ? 0
                                                        : size->code[i].bytes;
        printf("  %-13s %s:", m->isa[l], cli_size_text(sum, text));
        const char *comma = "";
        for (int i = 0; i < size->n; i++) {
            if (strcmp(size->code[i].isa, m->isa[l]))
                continue;
            printf("%s %s %s", comma, size->code[i].part,
                   cli_size_text(size->code[i].bytes, text));
            comma = ",";
        }
        putchar('\n');
    }
    printf("tables          %s\n", cli_size_text(size->table_bytes, text));
}

static void print_library(struct cli_source *source, const struct options *o,
                          const struct file_facts *file, bool proven)
{
    const struct tn_model *m = source->library.model;
    char size[32];
    printf("name            %s\n", m->name);
    printf("compiler        %s\n", m->compiler);
    printf("source          %s, sha256 %s\n", m->source_format,
           m->source_sha256);
    printf("target          %s\nISA levels      ", m->target);
    for (uint32_t i = 0; i < m->n_isa; i++)
        printf("%s%s%s", i ? ", " : "", m->isa[i],
               (int)i == m->isa_level() ? " (this CPU)" : "");
    putchar('\n');
    if (*m->strategy) /* of trees */
        printf("strategies      %s, %s for one row\n", m->strategy,
               m->row_strategy);
    print_code(&file->size, m);
    printf("scratch         %s\n",
           cli_size_text((int64_t)m->scratch_bytes, size));
    printf("stack           %s\n",
           cli_size_text((int64_t)m->stack_bytes, size));
    const struct tn_stream *stream = source->library.stream;
    if (stream)
        printf("streaming       a step of %u numbers, state %s",
               stream->n_elements,
               cli_size_text((int64_t)stream->state_bytes, size));
    if (stream && stream->n_start)
        printf(", a start of %" PRIu64 " numbers", stream->n_start);
    if (stream)
        putchar('\n');
    print_columns(source, o->all);
    print_outputs(source, o->all);
    printf("self-test       %s (%u golden rows)\n",
           proven ? "passed" : source->library.error, m->n_golden);
}

static void json_code(struct cli_json *json, const struct cli_code_size *size)
{
    cli_json_int(json, "code_bytes", size->code_bytes);
    cli_json_int(json, "table_bytes", size->table_bytes);
    cli_json_open(json, "code", '[');
    for (int i = 0; i < size->n; i++) {
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "isa", size->code[i].isa);
        cli_json_string(json, "part", size->code[i].part);
        cli_json_int(json, "bytes", size->code[i].bytes);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void json_library(struct cli_json *json,
                         const struct cli_source *source,
                         const struct file_facts *file, bool proven)
{
    const struct tn_model *m = source->library.model;
    cli_json_string(json, "name", m->name);
    cli_json_string(json, "compiler", m->compiler);
    cli_json_string(json, "source_format", m->source_format);
    cli_json_string(json, "source_sha256", m->source_sha256);
    cli_json_string(json, "target", m->target);
    json_names(json, "isa", (int)m->n_isa, m->isa);
    cli_json_string(json, "isa_of_this_cpu", m->isa[m->isa_level()]);
    cli_json_string(json, "strategy", m->strategy);
    cli_json_string(json, "row_strategy", m->row_strategy);
    json_code(json, &file->size);
    cli_json_int(json, "scratch_bytes", (int64_t)m->scratch_bytes);
    cli_json_int(json, "stack_bytes", (int64_t)m->stack_bytes);
    if (source->library.stream) {
        const struct tn_stream *stream = source->library.stream;
        cli_json_int(json, "step_elements", stream->n_elements);
        cli_json_int(json, "start_elements", (int64_t)stream->n_start);
        cli_json_int(json, "state_bytes", (int64_t)stream->state_bytes);
        cli_json_int(json, "step_scratch_bytes",
                     (int64_t)stream->scratch_bytes);
    }
    cli_json_int(json, "golden_rows", m->n_golden);
    cli_json_bool(json, "selftest", proven);
    json_schema(json, source);
}

/* ------------------------------------------------------------------ run -- */

static int inspect(struct cli_source *source, const struct file_facts *file,
                   const struct options *o)
{
    const bool library = source->library.model != NULL;
    const bool proven = !library || rt_selftest(&source->library);
    const char *kind = library ? "library" : "model";
    if (o->json) {
        struct cli_json json;
        cli_json_init(&json);
        cli_json_open(&json, NULL, '{');
        json_file(&json, file, kind);
        if (library)
            json_library(&json, source, file, proven);
        else
            json_model(&json, source);
        cli_json_close(&json, '}');
        cli_json_print(&json);
        cli_json_release(&json);
    } else {
        print_file(file, kind);
        if (library)
            print_library(source, o, file, proven);
        else
            print_model(source, o, file);
    }
    return proven ? CLI_OK : CLI_CHECK_FAILED;
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    struct cli_line line;
    if (!cli_parse(&cli_inspect, argc, argv, &o, &line))
        return line.exit_code;
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct cli_source source;
    struct file_facts file;
    if (!read_file_facts(&file, line.argument[0], &diag))
        return cli_finish(&diag, CLI_BAD_INPUT);
    int code = cli_source_open(&source, line.argument[0], NULL, NULL, o.time,
                               NULL, &diag);
    if (code != CLI_OK)
        return cli_finish(&diag, code);
    code = inspect(&source, &file, &o);
    cli_source_close(&source);
    return cli_finish(&diag, code);
}

const struct cli_command cli_inspect = {
    .name = "inspect",
    .summary = "Says what a model or a compiled library is.",
    .arguments = "MODEL|LIBRARY [options]",
    .min_arguments = 1, .max_arguments = 1,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "A library also runs its self-test; exit code 3 when that fails. It "
        "runs its own\ncode: use none that you do not trust.\n\n"
        "example:\n"
        "  treenail inspect model.txt\n"
        "  treenail inspect fraud.so --json\n",
    .run = run,
};
