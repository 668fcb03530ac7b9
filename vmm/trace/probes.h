/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USDT probes: provider "vireo", one probe for each trace point, with its arguments. Tools
 * (bpftrace, perf, SystemTap) find them as notes of the program and count themselves in the point's
 * semaphore. Without sys/sdt.h there are none.
 */
#ifndef VMM_TRACE_PROBES_H
#define VMM_TRACE_PROBES_H

#include "config.h"

#ifdef HAVE_SDT
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

/* Tools look for semaphores in this section. */
#define TRACE_WORD_SECTION __attribute__((section(".probes")))

#define TRACE_PROBE0(name)      STAP_PROBE(vireo, name)
#define TRACE_PROBE1(name, ...) STAP_PROBE1(vireo, name, __VA_ARGS__)
#define TRACE_PROBE2(name, ...) STAP_PROBE2(vireo, name, __VA_ARGS__)
#define TRACE_PROBE3(name, ...) STAP_PROBE3(vireo, name, __VA_ARGS__)
#define TRACE_PROBE4(name, ...) STAP_PROBE4(vireo, name, __VA_ARGS__)
#define TRACE_PROBE5(name, ...) STAP_PROBE5(vireo, name, __VA_ARGS__)
#define TRACE_PROBE6(name, ...) STAP_PROBE6(vireo, name, __VA_ARGS__)
#define TRACE_PROBE7(name, ...) STAP_PROBE7(vireo, name, __VA_ARGS__)
#else
#define TRACE_WORD_SECTION
#define TRACE_PROBE0(name)      ((void)0)
#define TRACE_PROBE1(name, ...) ((void)0)
#define TRACE_PROBE2(name, ...) ((void)0)
#define TRACE_PROBE3(name, ...) ((void)0)
#define TRACE_PROBE4(name, ...) ((void)0)
#define TRACE_PROBE5(name, ...) ((void)0)
#define TRACE_PROBE6(name, ...) ((void)0)
#define TRACE_PROBE7(name, ...) ((void)0)
#endif

#endif
