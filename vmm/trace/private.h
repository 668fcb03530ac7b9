/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of trace points, as scripts/trace-gen.py makes it. Private to vmm/trace. */
#ifndef VMM_TRACE_PRIVATE_H
#define VMM_TRACE_PRIVATE_H

#include "vmm/trace/trace.h"

typedef struct TracePoint {
    const char *name; /* NULL ends the table */
    const char *format;
    TraceWord *word;
} TracePoint;

extern const TracePoint trace_points[];

static inline const char *trace_text(const char *text)
{
    return text ? text : "-";
}

#endif
