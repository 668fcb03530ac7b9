/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers by GDB's numbers. GDB wants its own features' registers by these names; those of
 * the last feature are shown under the names that QEMU's stub gives them. They are always the
 * 64-bit ones: a guest that changes its mode does not change what GDB was told.
 */
#include "vmm/gdbstub/registers.h"

#include <string.h>

typedef enum Feature { FEATURE_CORE, FEATURE_SSE, FEATURE_SEGMENTS, FEATURE_SYSTEM } Feature;

static const char *const feature_names[] = {
    [FEATURE_CORE] = "org.gnu.gdb.i386.core",
    [FEATURE_SSE] = "org.gnu.gdb.i386.sse",
    [FEATURE_SEGMENTS] = "org.gnu.gdb.i386.segments",
    [FEATURE_SYSTEM] = "org.vireo.gdb.i386.system",
};

typedef struct Register {
    const char *name;
    const char *type;
    Feature feature;
    unsigned size;
    unsigned group;
    size_t offset;
} Register;

#define REG(name_, type_, feature_, group_, field_)                                                \
    {                                                                                              \
        .name = name_, .type = type_, .feature = FEATURE_##feature_,                               \
        .size = sizeof(((DebugRegs *)0)->field_), .group = DEBUG_REGS_##group_,                    \
        .offset = offsetof(DebugRegs, field_)                                                      \
    }
#define GENERAL(name_, n)   REG(name_, "int64", CORE, GENERAL, gpr[n])
#define SEGMENT(name_, n)   REG(name_, "int32", CORE, SYSTEM, selector[n])
#define STACK(name_, n)     REG(name_, "i387_ext", CORE, FPU, st[n])
#define FLOAT(field_)       REG(#field_, "int", CORE, FPU, field_)
#define VECTOR(name_, n)    REG(name_, "vec128", SSE, FPU, xmm[n])
#define SYSTEM_WORD(field_) REG(#field_, "uint64", SYSTEM, SYSTEM, field_)

static const Register registers[] = {
    GENERAL("rax", 0),
    GENERAL("rbx", 1),
    GENERAL("rcx", 2),
    GENERAL("rdx", 3),
    GENERAL("rsi", 4),
    GENERAL("rdi", 5),
    REG("rbp", "data_ptr", CORE, GENERAL, gpr[6]),
    REG("rsp", "data_ptr", CORE, GENERAL, gpr[7]),
    GENERAL("r8", 8),
    GENERAL("r9", 9),
    GENERAL("r10", 10),
    GENERAL("r11", 11),
    GENERAL("r12", 12),
    GENERAL("r13", 13),
    GENERAL("r14", 14),
    GENERAL("r15", 15),
    REG("rip", "code_ptr", CORE, GENERAL, rip),
    REG("eflags", "i386_eflags", CORE, GENERAL, rflags),
    SEGMENT("cs", SEG_CS),
    SEGMENT("ss", SEG_SS),
    SEGMENT("ds", SEG_DS),
    SEGMENT("es", SEG_ES),
    SEGMENT("fs", SEG_FS),
    SEGMENT("gs", SEG_GS),
    STACK("st0", 0),
    STACK("st1", 1),
    STACK("st2", 2),
    STACK("st3", 3),
    STACK("st4", 4),
    STACK("st5", 5),
    STACK("st6", 6),
    STACK("st7", 7),
    FLOAT(fctrl),
    FLOAT(fstat),
    FLOAT(ftag),
    FLOAT(fiseg),
    FLOAT(fioff),
    FLOAT(foseg),
    FLOAT(fooff),
    FLOAT(fop),
    VECTOR("xmm0", 0),
    VECTOR("xmm1", 1),
    VECTOR("xmm2", 2),
    VECTOR("xmm3", 3),
    VECTOR("xmm4", 4),
    VECTOR("xmm5", 5),
    VECTOR("xmm6", 6),
    VECTOR("xmm7", 7),
    VECTOR("xmm8", 8),
    VECTOR("xmm9", 9),
    VECTOR("xmm10", 10),
    VECTOR("xmm11", 11),
    VECTOR("xmm12", 12),
    VECTOR("xmm13", 13),
    VECTOR("xmm14", 14),
    VECTOR("xmm15", 15),
    REG("mxcsr", "i386_mxcsr", SSE, FPU, mxcsr),
    REG("fs_base", "int64", SEGMENTS, SYSTEM, fs_base),
    REG("gs_base", "int64", SEGMENTS, SYSTEM, gs_base),
    SYSTEM_WORD(k_gs_base),
    SYSTEM_WORD(cr0),
    SYSTEM_WORD(cr2),
    SYSTEM_WORD(cr3),
    SYSTEM_WORD(cr4),
    SYSTEM_WORD(cr8),
    SYSTEM_WORD(efer),
};

unsigned gdb_register_count(void)
{
    return G_N_ELEMENTS(registers);
}

unsigned gdb_register_size(unsigned number)
{
    return registers[number].size;
}

unsigned gdb_register_group(unsigned number)
{
    return registers[number].group;
}

void gdb_register_get(const DebugRegs *regs, unsigned number, uint8_t *data)
{
    memcpy(data, (const uint8_t *)regs + registers[number].offset, registers[number].size);
}

void gdb_register_set(DebugRegs *regs, unsigned number, const uint8_t *data)
{
    memcpy((uint8_t *)regs + registers[number].offset, data, registers[number].size);
}

/* ---- The description ---- */

typedef struct FlagName {
    const char *name;
    unsigned bit;
} FlagName;

static const FlagName eflags_names[] = {
    { "CF", 0 },  { "PF", 2 },   { "AF", 4 },   { "ZF", 6 },  { "SF", 7 },  { "TF", 8 },
    { "IF", 9 },  { "DF", 10 },  { "OF", 11 },  { "NT", 14 }, { "RF", 16 }, { "VM", 17 },
    { "AC", 18 }, { "VIF", 19 }, { "VIP", 20 }, { "ID", 21 },
};

static const FlagName mxcsr_names[] = {
    { "IE", 0 }, { "DE", 1 }, { "ZE", 2 }, { "OE", 3 },  { "UE", 4 },  { "PE", 5 },  { "DAZ", 6 },
    { "IM", 7 }, { "DM", 8 }, { "ZM", 9 }, { "OM", 10 }, { "UM", 11 }, { "PM", 12 }, { "FZ", 15 },
};

static void append_flags(GString *out, const char *id, const FlagName *names, size_t count)
{
    g_string_append_printf(out, "<flags id=\"%s\" size=\"4\">", id);
    for (size_t i = 0; i < count; i++) {
        g_string_append_printf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", names[i].name,
                               names[i].bit, names[i].bit);
    }
    g_string_append(out, "</flags>");
}

/* The ways to look at 16 bytes of a vector register. */
static void append_vector_types(GString *out)
{
    static const struct {
        const char *id, *type, *field;
        unsigned count;
    } views[] = {
        { "v4f", "ieee_single", "v4_float", 4 }, { "v2d", "ieee_double", "v2_double", 2 },
        { "v16i8", "int8", "v16_int8", 16 },     { "v8i16", "int16", "v8_int16", 8 },
        { "v4i32", "int32", "v4_int32", 4 },     { "v2i64", "int64", "v2_int64", 2 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(views); i++) {
        g_string_append_printf(out, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", views[i].id,
                               views[i].type, views[i].count);
    }
    g_string_append(out, "<union id=\"vec128\">");
    for (size_t i = 0; i < G_N_ELEMENTS(views); i++) {
        g_string_append_printf(out, "<field name=\"%s\" type=\"%s\"/>", views[i].field,
                               views[i].id);
    }
    g_string_append(out, "<field name=\"uint128\" type=\"uint128\"/></union>");
}

static void append_types(GString *out, Feature feature)
{
    if (feature == FEATURE_CORE) {
        append_flags(out, "i386_eflags", eflags_names, G_N_ELEMENTS(eflags_names));
    } else if (feature == FEATURE_SSE) {
        append_vector_types(out);
        append_flags(out, "i386_mxcsr", mxcsr_names, G_N_ELEMENTS(mxcsr_names));
    }
}

void gdb_target_xml(GString *out)
{
    g_string_append(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                         "<target><architecture>i386:x86-64</architecture>");
    for (unsigned i = 0; i < G_N_ELEMENTS(registers); i++) {
        const Register *reg = &registers[i];
        if (i == 0 || reg->feature != registers[i - 1].feature) {
            g_string_append_printf(out, "%s<feature name=\"%s\">", i ? "</feature>" : "",
                                   feature_names[reg->feature]);
            append_types(out, reg->feature);
        }
        g_string_append_printf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>",
                               reg->name, reg->size * 8, reg->type, i);
    }
    g_string_append(out, "</feature></target>");
}
