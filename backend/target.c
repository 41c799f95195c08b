/* target.c: the machines that code is emitted for, a line an ISA level. */
#include "backend/llvm.h"

#include <string.h>

/* x86-64's levels are the psABI's. Code for v4 uses whole 512-bit registers:
 * the forest kernels are bound by instruction count, not by frequency. */
static const struct be_level x86_64_levels[] = {
    {"x86-64-v2", "x86-64-v2", "", 16, 16, false, false,
     BE_DOT_PAIRS, false},
    {"x86-64-v3", "x86-64-v3", "", 32, 16, true, false, BE_DOT_PAIRS, false},
    {"x86-64-v4", "x86-64-v4", "-prefer-256-bit", 64, 32, true, true,
     BE_DOT_PAIRS, false},
    {"x86-64-v4-vnni", "x86-64-v4", "-prefer-256-bit,+avx512vnni", 64, 32,
     true, true, BE_DOT_FOURS, true},
};

static const struct be_level aarch64_levels[] = {
    {"armv8-a", "generic", "+neon", 16, 32, true, false,
     BE_DOT_MULTIPLY, false},
    {"armv8.2-a-dotprod", "generic", "+neon,+dotprod", 16, 32, true, false,
     BE_DOT_SIGNED_FOURS, true},
};

/* With vectors: what RVA23, the profile that systems ask for, has. */
static const struct be_level riscv64_levels[] = {
    {"rv64gcv", "generic-rv64", "+m,+a,+f,+d,+c,+v", 16, 32, true, false,
     BE_DOT_MULTIPLY, false},
};

/* No fused multiply-add: it is emulated where a result needs it. */
static const struct be_level wasm32_levels[] = {
    {"simd128", "generic", "+simd128", 16, 16, false, false,
     BE_DOT_MULTIPLY, false},
};

static const struct be_target targets[] = {
    {"x86_64-linux-gnu", "x86_64-unknown-linux-gnu", NULL, x86_64_levels, 4,
     true, true, BE_PSHUFB, false},
    {"aarch64-linux-gnu", "aarch64-unknown-linux-gnu", NULL, aarch64_levels, 2,
     false, false, BE_TBL, false},
    {"riscv64-linux-gnu", "riscv64-unknown-linux-gnu", "lp64d",
     riscv64_levels, 1, false, false, BE_LOADS, false},
    {"wasm32", "wasm32-unknown-unknown", NULL, wasm32_levels, 1, false, false,
     BE_SWIZZLE, true},
};
enum { n_targets = sizeof(targets) / sizeof(targets[0]) };

const struct be_target *be_target_find(const char *name)
{
    if (!name)
        return &targets[0];
    for (int i = 0; i < n_targets; i++)
        if (!strcmp(name, targets[i].name) ||
            !strcmp(name, targets[i].triple))
            return &targets[i];
    return NULL;
}

char *be_target_names(struct ir_arena *arena)
{
    char *names = ir_strdup(arena, targets[0].name);
    for (int i = 1; i < n_targets; i++)
        names = ir_sprintf(arena, "%s, %s", names, targets[i].name);
    return names;
}
