/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's inside: lines to commands, completion, expressions. Main thread. */
#ifndef VMM_MONITOR_HMP_H
#define VMM_MONITOR_HMP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"
#include "vmm/machine/debug.h"
#include "vmm/monitor/commands.h"

/* ---- Lines (hmp_line.c) ---- */

/* What a session remembers from one command to the next. */
typedef struct HmpContext {
    unsigned cpu;             /* `cpu N` */
    char format;              /* of x, xp, p: the last one given */
    unsigned size;            /* of x, xp: bytes */
    const GPtrArray *history; /* char *, oldest first; NULL: there is no editor */
} HmpContext;

#define HMP_CONTEXT_INIT                                                                           \
    {                                                                                              \
        .format = 'x', .size = 4                                                                   \
    }

void hmp_execute_in(HmpContext *context, const char *line, GString *out);
/* The context of the line being run; only from within a command. */
HmpContext *hmp_context(void);

/* Whether the line begins with the command's name (blanks between its words are one or more); the
 * place behind it, or NULL. */
const char *hmp_match_name(const char *line, const char *name);
/* The longest command that the line begins with, or NULL; *rest is behind its name. */
const HmpCommand *hmp_find(const char *line, const char **rest);
/* The next word, new, with its quotes taken off; *at moves behind it. NULL: there is none, or the
 * quotes do not end (error). */
char *hmp_next_word(const char **at, GError **error);
/* "NAME PARAMS". */
void hmp_put_usage(GString *out, const HmpCommand *command);

/* What QEMU has and this version has not, and why; NULL ends the table (hmp_missing.c). */
typedef struct HmpMissing {
    const char *name;
    const char *reason;
} HmpMissing;
extern const HmpMissing hmp_missing[];

/* ---- The Tab key (hmp_complete.c) ---- */

/* The words that can stand at the end of `start` in place of what is behind *from, in a new list
 * that frees them. */
GPtrArray *hmp_complete(const char *start, gsize *from);

/* ---- Expressions (hmp_expr.c) ---- */

typedef bool HmpRegisterFn(void *opaque, const char *name, uint64_t *value);
/* Reads an expression in QEMU's syntax: numbers, 'c', $register, ( ) + - ~ * / % & | ^, where & | ^
 * bind tighter than + and -. *text moves to what is behind it. */
bool hmp_expression(const char **text, HmpRegisterFn *reg, void *opaque, int64_t *value,
                    GError **error);

/* ---- "/FMT" (hmp_format.c) ---- */

typedef struct HmpFormat {
    uint64_t count;
    char format;   /* one of x d u o c i */
    unsigned size; /* bytes: 1, 2, 4, 8; 0: not said */
} HmpFormat;

/* Takes "/COUNT{x|d|u|o|c|i}{b|h|w|g}" and the blanks behind it from *text; what is not said stays
 * as it is in format. False: it is something else (error). */
bool hmp_take_format(const char **text, HmpFormat *format, GError **error);
/* One value of format->size bytes; padded: as wide as any of that size. */
void hmp_put_value(GString *out, const HmpFormat *format, uint64_t value, bool padded);

/* ---- vCPUs (hmp_cpu.c) ---- */

/* Registers of the context's vCPU, or of the first one there is; the machine may run. False: there
 * is none, or it cannot be read. */
bool hmp_registers(DebugRegs *regs, unsigned groups, GError **error);
/* The context's vCPU, or the first one there is. */
unsigned hmp_cpu(void);
/* An expression with that vCPU's registers. One that is the whole text with `last`. */
bool hmp_value(const char **text, uint64_t *value, bool last, GError **error);

#endif
