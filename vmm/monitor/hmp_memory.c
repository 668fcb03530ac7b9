/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at guest memory, and its calculator. A look reads RAM and ROM only: it
 * never touches a device's registers. */
#include "vmm/monitor/hmp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "vmm/machine/machine.h"
#include "vmm/memory/dma.h"
#include "vmm/monitor/disassemble.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

#define COUNT_MAX (64u << 10) /* items of one x */
#define SUM_MAX   (1ULL << 30)
#define SUM_PIECE (64u << 10)
#define PAGE_PFN  ((1ULL << 55) - 1) /* of an entry of /proc/self/pagemap */
#define PAGE_HERE (1ULL << 63)
#define HEX       "0x%" G_GINT64_MODIFIER "x"

/* ---- x, xp ---- */

static void dump_memory(GString *out, const DebugRegs *regs, const HmpFormat *format, uint64_t addr)
{
    unsigned size = format->format == 'c' ? 1 : format->size;
    unsigned each_line = (size == 1 && format->format != 'c' ? 8 : 16) / size;
    HmpFormat item = { .format = format->format, .size = size };
    for (uint64_t i = 0; i < format->count; i++, addr += size) {
        uint8_t data[8] = { 0 };
        if (i % each_line == 0) {
            g_string_append_printf(out, "%s%016" G_GINT64_MODIFIER "x:", i ? "\n" : "", addr);
        }
        if (debug_memory_read(machine_get(), regs, addr, data, size) < size) {
            g_string_append(out, regs ? " not mapped, or no RAM" : " no RAM here");
            break;
        }
        g_string_append_c(out, ' ');
        hmp_put_value(out, &item, load_le(data, size), true);
    }
    g_string_append_c(out, '\n');
}

static size_t dump_instruction(GString *out, Disassembler *disassembler, const DebugRegs *regs,
                               uint64_t addr)
{
    uint8_t code[INSTRUCTION_MAX];
    g_autoptr(GString) words = g_string_new(NULL), bytes = g_string_new(NULL);
    size_t there = debug_memory_read(machine_get(), regs, addr, code, sizeof(code));
    size_t length = disassemble(disassembler, code, there, addr, words);
    if (there == 0) {
        g_string_append_printf(out, HEX ":  %s\n", addr,
                               regs ? "not mapped, or no RAM" : "no RAM here");
        return 0;
    }
    if (length == 0) {
        g_string_append_printf(words, ".byte 0x%02x", code[0]);
        length = 1;
    }
    for (size_t i = 0; i < length; i++) {
        g_string_append_printf(bytes, "%02x ", code[i]);
    }
    g_string_append_printf(out, HEX ":  %-24s %s\n", addr, bytes->str, words->str);
    return length;
}

/* view: how the address is seen, NULL for a physical one; regs: what kind of code it is. */
static bool dump_instructions(GString *out, const DebugRegs *regs, const DebugRegs *view,
                              uint64_t count, uint64_t addr, GError **error)
{
    unsigned bits = regs->code_64 ? 64 : regs->code_32 ? 32 : 16;
    Disassembler *disassembler = disassembler_new(bits, error);
    if (!disassembler) {
        return false;
    }
    for (size_t length = 1; count && length; count--) {
        length = dump_instruction(out, disassembler, view, addr);
        addr += length;
    }
    disassembler_free(disassembler);
    return true;
}

static bool examine(GString *out, const char *text, bool virtual, GError **error)
{
    HmpContext *context = hmp_context();
    HmpFormat format = { .count = 1, .format = context->format, .size = context->size };
    DebugRegs regs = { 0 };
    uint64_t addr;
    if (!hmp_take_format(&text, &format, error)) {
        return false;
    }
    bool code = format.format == 'i';
    if (format.count > COUNT_MAX) {
        return error_set(error, "at most %u items are shown at once", COUNT_MAX);
    }
    if (!hmp_value(&text, &addr, true, error) ||
        ((virtual || code) && !hmp_registers(&regs, DEBUG_REGS_SYSTEM, error))) {
        return false;
    }
    const DebugRegs *view = virtual ? &regs : NULL;
    context->format = format.format;
    context->size = format.size;
    if (code) {
        return dump_instructions(out, &regs, view, format.count, addr, error);
    }
    dump_memory(out, view, &format, addr);
    return true;
}

static void hmp_x(GString *out, char **args)
{
    GError *error = NULL;
    examine(out, args[0], true, &error);
    hmp_error(out, error);
}

static void hmp_xp(GString *out, char **args)
{
    GError *error = NULL;
    examine(out, args[0], false, &error);
    hmp_error(out, error);
}

/* ---- print ---- */

static bool print(GString *out, const char *text, GError **error)
{
    char last = hmp_context()->format;
    HmpFormat format = { .count = 1, .format = last == 'i' ? 'x' : last, .size = 8 };
    uint64_t value;
    if (!hmp_take_format(&text, &format, error) || !hmp_value(&text, &value, true, error)) {
        return false;
    }
    if (format.format == 'i') {
        return error_set(error, "a number is no instruction");
    }
    format.size = 8;
    hmp_context()->format = format.format;
    hmp_put_value(out, &format, value, false);
    g_string_append_c(out, '\n');
    return true;
}

static void hmp_print(GString *out, char **args)
{
    GError *error = NULL;
    print(out, args[0], &error);
    hmp_error(out, error);
}

/* ---- sum ---- */

static bool checksum(GString *out, const char *text, GError **error)
{
    g_autofree uint8_t *data = g_malloc(SUM_PIECE);
    uint64_t addr, size;
    uint16_t sum = 0;
    if (!hmp_value(&text, &addr, false, error) || !hmp_value(&text, &size, true, error)) {
        return false;
    }
    if (size > SUM_MAX) {
        return error_set(error, "at most 1 GiB is summed at once");
    }
    while (size) {
        size_t part = (size_t)MIN(size, SUM_PIECE);
        size_t done = debug_memory_read(machine_get(), NULL, addr, data, part);
        if (done < part) {
            return error_set(error, "there is no RAM at " HEX, addr + done);
        }
        for (size_t i = 0; i < part; i++) { /* as BSD's sum */
            sum = (uint16_t)((sum >> 1 | sum << 15) + data[i]);
        }
        addr += part;
        size -= part;
    }
    g_string_append_printf(out, "%05u\n", sum);
    return true;
}

static void hmp_sum(GString *out, char **args)
{
    GError *error = NULL;
    checksum(out, args[0], &error);
    hmp_error(out, error);
}

/* ---- Addresses ---- */

static void hmp_gva2gpa(GString *out, char **args)
{
    GError *error = NULL;
    DebugRegs regs = { 0 };
    const char *text = args[0];
    uint64_t linear, physical;
    if (hmp_value(&text, &linear, true, &error) &&
        hmp_registers(&regs, DEBUG_REGS_SYSTEM, &error)) {
        if (debug_translate(machine_get(), &regs, linear, &physical)) {
            g_string_append_printf(out, "gpa: %#" G_GINT64_MODIFIER "x\n", physical);
        } else {
            g_string_append(out, "Unmapped\n");
        }
    }
    hmp_error(out, error);
}

/* The block that the address is in, and where its memory is in this process. */
static RamBlock *find_host(const char *text, uint64_t *addr, uint8_t **host, GError **error)
{
    RamBlock *block;
    uint64_t offset;
    if (!hmp_value(&text, addr, true, error)) {
        return NULL;
    }
    if (!dma_find_ram(machine_get()->memory, *addr, 1, &block, &offset)) {
        error_set(error, "there is no RAM at " HEX, *addr);
        return NULL;
    }
    *host = block->host + offset;
    return block;
}

static void hmp_gpa2hva(GString *out, char **args)
{
    GError *error = NULL;
    uint64_t addr;
    uint8_t *host;
    RamBlock *block = find_host(args[0], &addr, &host, &error);
    if (block) {
        g_string_append_printf(out, "Host virtual address for " HEX " (%s) is %p\n", addr,
                               block->id, (void *)host);
    }
    hmp_error(out, error);
}

/* The kernel's Documentation/admin-guide/mm/pagemap.rst. */
static bool host_frame(const uint8_t *host, uint64_t *frame, GError **error)
{
    uint64_t entry = 0, page = (uintptr_t)host / (uint64_t)getpagesize();
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(error, "/proc/self/pagemap cannot be opened: %s", g_strerror(errno));
    }
    __atomic_load_n(host, __ATOMIC_RELAXED); /* so that there is a page */
    ssize_t got = pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry)));
    close(fd);
    if (got != sizeof(entry) || !(entry & PAGE_HERE)) {
        return error_set(error, "the host has no page there now");
    }
    *frame = entry & PAGE_PFN;
    return *frame || error_set(error, "the kernel tells physical addresses to CAP_SYS_ADMIN only");
}

static void hmp_gpa2hpa(GString *out, char **args)
{
    GError *error = NULL;
    uint64_t addr, frame = 0, page = (uint64_t)getpagesize();
    uint8_t *host;
    RamBlock *block = find_host(args[0], &addr, &host, &error);
    if (block && host_frame(host, &frame, &error)) {
        g_string_append_printf(out, "Host physical address for " HEX " (%s) is " HEX "\n", addr,
                               block->id, frame * page + (uintptr_t)host % page);
    }
    hmp_error(out, error);
}

/* ---- memsave, pmemsave ---- */

/* The address and the size have no blanks in them: behind one, "/tmp/file" would divide. */
static void save(GString *out, char **args, bool virtual)
{
    GError *error = NULL;
    const char *text = args[0], *size_text = args[1];
    uint64_t addr, size;
    if (!hmp_value(&text, &addr, true, &error) || !hmp_value(&size_text, &size, true, &error)) {
        hmp_error(out, error);
        return;
    }
    json_object *arguments = json_object_new_object();
    json_add_int(arguments, "val", (int64_t)addr);
    json_add_int(arguments, "size", (int64_t)size);
    json_add_string(arguments, "filename", args[2]);
    if (virtual) {
        json_add_int(arguments, "cpu-index", hmp_cpu());
    }
    hmp_run_qmp(out, virtual ? "memsave" : "pmemsave", arguments);
}

static void hmp_memsave(GString *out, char **args)
{
    save(out, args, true);
}

static void hmp_pmemsave(GString *out, char **args)
{
    save(out, args, false);
}

static const HmpCommand hmp[] = {
    { "x", "/FMT ADDRESS",
      "show memory as the vCPU sees it: /COUNT{x|d|u|o|c}{b|h|w|g}, /COUNTi instructions", hmp_x, 1,
      1, .rest = true },
    { "xp", "/FMT ADDRESS", "show memory at a physical address", hmp_xp, 1, 1, .rest = true },
    { "print", "/FMT EXPRESSION",
      "calculate: numbers, $registers, 'c', ( ) + - ~ * / % & | ^, where & | ^ come before + -",
      hmp_print, 1, 1, .alias = "p", .rest = true },
    { "sum", "ADDRESS SIZE", "the checksum (BSD's sum) of physical memory", hmp_sum, 1, 1,
      .rest = true },
    { "gva2gpa", "ADDRESS", "the physical address behind one of the vCPU's", hmp_gva2gpa, 1, 1,
      .rest = true },
    { "gpa2hva", "ADDRESS", "where this process has the RAM of a physical address", hmp_gpa2hva, 1,
      1, .rest = true },
    { "gpa2hpa", "ADDRESS", "where the host has the RAM of a physical address", hmp_gpa2hpa, 1, 1,
      .rest = true },
    { "memsave", "ADDRESS SIZE FILE", "write memory as the vCPU sees it to a file", hmp_memsave, 3,
      3 },
    { "pmemsave", "ADDRESS SIZE FILE", "write physical memory to a file", hmp_pmemsave, 3, 3 },
    { NULL },
};

const MonitorCommands hmp_memory_commands = { .hmp = hmp };
