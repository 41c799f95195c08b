/* artifact.c: be_compile and be_write: options, LLVM's life cycle, and what
 * each kind of file is made of. */
#include "backend/llvm.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- kinds */

static const struct {
    const char *name, *suffix;
} kinds[BE_N_KINDS] = {
    [BE_SO] = {"so", ".so"}, [BE_A] = {"a", ".a"}, [BE_O] = {"o", ".o"},
    [BE_WASM] = {"wasm", ".wasm"},
    [BE_LL] = {"ll", ".ll"}, [BE_ASM] = {"asm", ".s"}, [BE_H] = {"h", ".h"},
    [BE_IR] = {"ir", ".tnir"},
};

const char *be_kind_name(enum be_kind kind)
{
    return kinds[kind].name;
}

const char *be_kind_suffix(enum be_kind kind)
{
    return kinds[kind].suffix;
}

bool be_kind_parse(const char *name, size_t length, enum be_kind *kind)
{
    for (int i = 0; i < BE_N_KINDS; i++)
        if (strlen(kinds[i].name) == length &&
            !memcmp(kinds[i].name, name, length)) {
            *kind = (enum be_kind)i;
            return true;
        }
    return false;
}

/* -------------------------------------------------------------------- name */

static bool is_reserved(const char *name)
{
    static const char *const words[] = {
        "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case",
        "catch", "char", "class", "const", "continue", "default", "delete",
        "do", "double", "else", "enum", "explicit", "export", "extern",
        "false", "final", "float", "for", "friend", "goto", "if", "inline",
        "int", "long", "main", "mutable", "namespace", "new", "not",
        "nullptr", "operator", "or", "override", "private", "protected",
        "public", "register", "restrict", "return", "short", "signed",
        "sizeof", "static", "struct", "switch", "template", "this", "throw",
        "tn", "treenail", "true", "try", "typedef", "typename", "union",
        "unsigned", "using", "virtual", "void", "volatile", "while", "xor"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcmp(words[i], name))
            return true;
    return false;
}

char *be_identifier(struct ir_arena *arena, const char *name)
{
    char *id = ir_sprintf(arena, "%.100s", name);
    for (char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) || (unsigned char)*p > 127)
            *p = '_';
    if (!*id || isdigit((unsigned char)*id) || *id == '_' || is_reserved(id))
        id = ir_sprintf(arena, "model_%s", id);
    return id;
}

/* ----------------------------------------------------------------- options */

/* Fills e->levels with those named in `list`, lowest first. */
enum { most_levels = 8 };

/* Marks those of the target's levels that the list names, or without one all
 * that are of use, with products of whole numbers or not: the lowest alone
 * where nothing says what the CPU has. Returns the name that
 * is none of them, or NULL. */
static const char *mark_levels(const struct be_target *target,
                               const char *list, bool int8,
                               bool chosen[most_levels])
{
    for (int l = 0; l < target->n_levels; l++)
        chosen[l] =
            !list && (l == 0 || target->detects) &&
            (int8 || !target->levels[l].is_for_int8);
    for (const char *at = list; at;) {
        const size_t length = strcspn(at, ",");
        int found = -1;
        for (int l = 0; l < target->n_levels; l++)
            if (strlen(target->levels[l].name) == length &&
                !memcmp(target->levels[l].name, at, length))
                found = l;
        if (found < 0)
            return at;
        chosen[found] = true;
        at = at[length] ? at + length + 1 : NULL;
    }
    return NULL;
}

static bool find_levels(const struct be_target *target, const char *list,
                        bool int8, bool chosen[most_levels],
                        struct ir_diag *diag)
{
    const char *unknown = mark_levels(target, list, int8, chosen);
    int n = 0;
    for (int l = 0; l < target->n_levels; l++)
        n += chosen[l];
    if (!unknown && n > 1 && !target->detects)
        return ir_error(diag, ir_loc_file(NULL),
                        "code for %s cannot see which CPU it runs on: one "
                        "level is held, not %d", target->name, n);
    if (!unknown)
        return true;
    struct ir_text names;
    ir_text_init(&names);
    for (int l = 0; l < target->n_levels; l++)
        ir_text_printf(&names, "%s%s", l ? ", " : "", target->levels[l].name);
    ir_error(diag, ir_loc_file(NULL), "%s has no ISA level named \"%.*s\" "
             "(there are: %s)", target->name, (int)strcspn(unknown, ","),
             unknown, names.data);
    ir_text_release(&names);
    return false;
}

static bool choose_levels(struct be_emitter *e, const char *list,
                          struct ir_diag *diag)
{
    const struct be_target *target = e->target;
    bool chosen[most_levels];
    bool int8 = false;
    for (int i = 0; i < e->module->n_ops; i++)
        int8 = int8 || ir_is_int8(e->module->ops[i]);
    if (!find_levels(target, list, int8, chosen, diag))
        return false;
    for (int l = 0; l < target->n_levels; l++)
        if (chosen[l])
            e->levels[e->n_levels++] = &target->levels[l];
    return true;
}

bool be_has_target(const char *target, struct ir_diag *diag)
{
    if (be_target_find(target))
        return true;
    struct ir_arena arena;
    ir_arena_init(&arena);
    ir_error(diag, ir_loc_file(NULL), "there is no target named \"%s\" (there "
             "are: %s)", target, be_target_names(&arena));
    ir_arena_release(&arena);
    return false;
}

bool be_has_levels(const struct be_options *options, struct ir_diag *diag)
{
    const struct be_target *target = be_target_find(options->target);
    bool chosen[most_levels];
    return !target ||
           find_levels(target, options->cpus, true, chosen, diag);
}

bool be_is_first_target(const char *target)
{
    return be_target_find(target) == be_target_find(NULL);
}

bool be_has_kind(const char *target, enum be_kind kind)
{
    const struct be_target *t = be_target_find(target);
    return !t || kind != (t->is_wasm ? BE_SO : BE_WASM);
}

void be_level_kinds(const struct be_options *options, bool *plain,
                    bool *masked)
{
    const struct be_target *target = be_target_find(options->target);
    bool chosen[most_levels];
    *plain = *masked = false;
    if (!target || mark_levels(target, options->cpus, false, chosen))
        return;
    for (int l = 0; l < target->n_levels; l++)
        if (chosen[l])
            *(target->levels[l].has_masks ? masked : plain) = true;
}

/* ---------------------------------------------------------------- artifact */

struct be_artifact {
    struct be_emitter e;
    LLVMTargetMachineRef machine;
    LLVMMemoryBufferRef object; /* once it was needed */
    struct ir_module *module;   /* a copy, for BE_IR and the header */
};

static void init_llvm(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    LLVMInitializeRISCVTargetInfo();
    LLVMInitializeRISCVTarget();
    LLVMInitializeRISCVTargetMC();
    LLVMInitializeRISCVAsmPrinter();
    LLVMInitializeRISCVAsmParser();
    LLVMInitializeWebAssemblyTargetInfo();
    LLVMInitializeWebAssemblyTarget();
    LLVMInitializeWebAssemblyTargetMC();
    LLVMInitializeWebAssemblyAsmPrinter();
    LLVMInitializeWebAssemblyAsmParser();
}

static void open_context(struct be_emitter *e)
{
    e->context = LLVMContextCreate();
    /* A short identifier: paths would make bytes differ between machines. */
    e->llvm = LLVMModuleCreateWithNameInContext("treenail", e->context);
    e->b = LLVMCreateBuilderInContext(e->context);
    e->i1 = LLVMInt1TypeInContext(e->context);
    e->i8 = LLVMInt8TypeInContext(e->context);
    e->i16 = LLVMInt16TypeInContext(e->context);
    e->i32 = LLVMInt32TypeInContext(e->context);
    e->i64 = LLVMInt64TypeInContext(e->context);
    e->f32 = LLVMFloatTypeInContext(e->context);
    e->f64 = LLVMDoubleTypeInContext(e->context);
    e->ptr = LLVMPointerTypeInContext(e->context, 0);
    e->none = LLVMVoidTypeInContext(e->context);
}

static bool open_machine(struct be_artifact *a, struct ir_diag *diag)
{
    const struct be_target *target = a->e.target;
    LLVMTargetRef llvm_target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &llvm_target, &message)) {
        ir_error(diag, ir_loc_file(NULL), "LLVM: %s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    const struct be_level *base = a->e.levels[0];
    a->machine = LLVMCreateTargetMachine(
        llvm_target, target->triple, base->cpu, base->features,
        LLVMCodeGenLevelDefault,
        target->is_wasm ? LLVMRelocStatic : LLVMRelocPIC,
        LLVMCodeModelDefault);
    LLVMSetTarget(a->e.llvm, target->triple);
    if (target->abi)
        LLVMAddModuleFlag(
            a->e.llvm, LLVMModuleFlagBehaviorError, "target-abi", 10,
            LLVMMDStringInContext2(a->e.context, target->abi,
                                   strlen(target->abi)));
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(a->machine);
    char *text = LLVMCopyStringRepOfTargetData(layout);
    LLVMSetDataLayout(a->e.llvm, text);
    LLVMDisposeMessage(text);
    LLVMDisposeTargetData(layout);
    return true;
}

/* Emission writes what it means; what is left for LLVM before instruction
 * selection is little: fold address arithmetic, drop what is unused. */
static void optimise(struct be_artifact *a)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(
        a->e.llvm, "globaldce,function(early-cse)", a->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error)
        ir_bug("LLVM: %s", LLVMGetErrorMessage(error));
}

struct be_artifact *be_compile(const struct ir_module *source,
                               const struct ir_module *module,
                               const struct be_options *options,
                               struct ir_diag *diag)
{
    struct be_artifact *a = ir_realloc_array(NULL, 1, sizeof(*a));
    memset(a, 0, sizeof(*a));
    struct be_emitter *e = &a->e;
    ir_arena_init(&e->arena);
    a->module = ir_module_clone(module);
    e->module = a->module;
    e->target = be_target_find(options->target);
    if (!be_has_target(options->target, diag) ||
        !choose_levels(e, options->cpus, diag)) {
        be_free(a);
        return NULL;
    }
    e->stream = options->stream;
    e->name = be_identifier(&e->arena,
                            options->name ? options->name : module->name);
    e->forests = ir_alloc_array(&e->arena, (size_t)module->n_ops + 1,
                                sizeof(*e->forests));
    init_llvm();
    open_context(e);
    if (!open_machine(a, diag)) {
        be_free(a);
        return NULL;
    }
    be_library_emit(e, source, options->n_golden);
    char *message = NULL;
    if (LLVMVerifyModule(e->llvm, LLVMReturnStatusAction, &message))
        ir_bug("LLVM's verifier: %s", message);
    LLVMDisposeMessage(message);
    optimise(a);
    return a;
}

void be_free(struct be_artifact *a)
{
    if (!a)
        return;
    if (a->object)
        LLVMDisposeMemoryBuffer(a->object);
    if (a->machine)
        LLVMDisposeTargetMachine(a->machine);
    if (a->e.context) {
        LLVMDisposeBuilder(a->e.b);
        LLVMDisposeModule(a->e.llvm);
        LLVMContextDispose(a->e.context);
    }
    ir_module_free(a->module);
    ir_arena_release(&a->e.arena);
    free(a);
}

/* --------------------------------------------------------------- be_write */

struct generation {
    struct be_artifact *artifact;
    LLVMCodeGenFileType type;
    LLVMMemoryBufferRef *buffer;
    char *message;
    bool failed;
};

static void run_generation(void *of)
{
    struct generation *g = of;
    g->failed = LLVMTargetMachineEmitToMemoryBuffer(
        g->artifact->machine, g->artifact->e.llvm, g->type, &g->message,
        g->buffer);
}

/* Ops for which any stack is deep enough. */
enum { few_ops = 256 };

static bool generate(struct be_artifact *a, LLVMCodeGenFileType type,
                     LLVMMemoryBufferRef *buffer, struct ir_diag *diag)
{
    struct generation g = {.artifact = a, .type = type, .buffer = buffer};
    if (a->module->n_ops <= few_ops)
        run_generation(&g);
    else
        be_on_deep_stack(run_generation, &g);
    if (!g.failed)
        return true;
    ir_error(diag, ir_loc_file(NULL), "LLVM: %s", g.message);
    LLVMDisposeMessage(g.message);
    return false;
}

static bool write_text(const char *path, struct ir_text *text,
                       struct ir_diag *diag)
{
    const bool ok = ir_file_write(path, text->data, text->length, diag);
    ir_text_release(text);
    return ok;
}

/* Code generation rewrites the module: it works on a copy. */
static bool generate_copy(struct be_artifact *a, LLVMCodeGenFileType type,
                          LLVMMemoryBufferRef *buffer, struct ir_diag *diag)
{
    LLVMModuleRef whole = a->e.llvm;
    a->e.llvm = LLVMCloneModule(whole);
    const bool ok = generate(a, type, buffer, diag);
    LLVMDisposeModule(a->e.llvm);
    a->e.llvm = whole;
    return ok;
}

static bool write_asm(struct be_artifact *a, const char *path,
                      struct ir_diag *diag)
{
    LLVMMemoryBufferRef buffer;
    if (!generate_copy(a, LLVMAssemblyFile, &buffer, diag))
        return false;
    const bool ok = ir_file_write(path, LLVMGetBufferStart(buffer),
                                  LLVMGetBufferSize(buffer), diag);
    LLVMDisposeMemoryBuffer(buffer);
    return ok;
}

const void *be_object(struct be_artifact *a, size_t *size,
                      struct ir_diag *diag)
{
    if (!a->object && !generate_copy(a, LLVMObjectFile, &a->object, diag)) {
        a->object = NULL;
        return NULL;
    }
    *size = LLVMGetBufferSize(a->object);
    return LLVMGetBufferStart(a->object);
}

bool be_kind_is_native(enum be_kind kind)
{
    return kind == BE_SO || kind == BE_A || kind == BE_O || kind == BE_WASM;
}

bool be_generate(struct be_artifact *a, struct ir_diag *diag)
{
    size_t size;
    return be_object(a, &size, diag) != NULL;
}

const char *be_artifact_name(const struct be_artifact *a)
{
    return a->e.name;
}

bool be_artifact_streams(const struct be_artifact *a)
{
    return a->e.stream != NULL;
}

static bool write_native(struct be_artifact *a, enum be_kind kind,
                         const char *path, struct ir_diag *diag)
{
    size_t size;
    const struct be_target *target = a->e.target;
    if (!be_has_kind(target->name, kind))
        return ir_error(diag, ir_loc_file(path), "the target %s has no files "
                        "of kind %s", target->name, be_kind_name(kind));
    const void *bytes = be_object(a, &size, diag);
    if (!bytes)
        return false;
    switch (kind) {
    case BE_WASM:
        return be_link_wasm(bytes, size, a->e.name, a->e.stream != NULL,
                            be_stack_bytes(&a->e), path, diag);
    case BE_SO: return be_link_shared(bytes, size, a->e.name, path, diag);
    case BE_A: return be_archive(bytes, size, a->e.name, path, diag);
    default: return ir_file_write(path, bytes, size, diag);
    }
}

bool be_write(struct be_artifact *a, enum be_kind kind, const char *path,
              struct ir_diag *diag)
{
    struct ir_text text;
    char *ll;
    bool ok;
    switch (kind) {
    case BE_LL:
        ll = LLVMPrintModuleToString(a->e.llvm);
        ok = ir_file_write(path, ll, strlen(ll), diag);
        LLVMDisposeMessage(ll);
        return ok;
    case BE_H:
        ir_text_init(&text);
        be_header_text(&a->e, &text);
        return write_text(path, &text, diag);
    case BE_IR:
        ir_text_init(&text);
        ir_print(a->module, &text);
        return write_text(path, &text, diag);
    case BE_ASM:
        return write_asm(a, path, diag);
    default:
        return write_native(a, kind, path, diag);
    }
}
