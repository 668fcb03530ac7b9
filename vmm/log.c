/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"
#include "vmm/trace/trace.h"

#define TRACE_PREFIX "trace:"

unsigned log_items;
static int file = -1;

static const struct {
    const char *name;
    unsigned mask;
    const char *help; /* of an item that is not there: the reason */
} items[] = {
    { "cpu_reset", LOG_CPU_RESET, "the vCPUs' registers before each reset" },
    { "guest_errors", LOG_GUEST_ERRORS,
      "what the guest does wrong, every time: accesses to addresses where nothing is, faults that "
      "devices see" },
    { "all", LOG_CPU_RESET | LOG_GUEST_ERRORS, "all of these" },
    { "out_asm", 0, "Vireo translates no code (TCG)" },
    { "in_asm", 0, "Vireo translates no code (TCG)" },
    { "op", 0, "Vireo translates no code (TCG)" },
    { "op_opt", 0, "Vireo translates no code (TCG)" },
    { "op_ind", 0, "Vireo translates no code (TCG)" },
    { "exec", 0, "Vireo translates no code (TCG)" },
    { "cpu", 0, "Vireo translates no code (TCG)" },
    { "fpu", 0, "Vireo translates no code (TCG)" },
    { "nochain", 0, "Vireo translates no code (TCG)" },
    { "plugin", 0, "Vireo translates no code (TCG)" },
    { "int", 0, "KVM delivers interrupts; perf kvm stat and the kernel's trace points show them" },
    { "mmu", 0, "KVM walks page tables; the kernel's trace points show it" },
    { "pcall", 0, "KVM runs the guest's code; gdb (-s) can stop at it" },
    { "unimp", 0,
      "devices are whole or not there; accesses to what is not there are guest_errors" },
    { "page", 0, "it is for programs, not machines" },
    { "strace", 0, "it is for programs, not machines" },
    { "tid", 0, "lines are whole, so that one file does for all threads" },
};

static bool add_item(const char *name, GError **error)
{
    if (g_str_has_prefix(name, TRACE_PREFIX)) {
        return trace_apply(name + strlen(TRACE_PREFIX), error);
    }
    const char *names[G_N_ELEMENTS(items) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        names[i] = items[i].mask ? items[i].name : "";
        if (!g_str_equal(items[i].name, name)) {
            continue;
        }
        log_items |= items[i].mask;
        return items[i].mask || error_set(error, "'%s': QEMU has this item, Vireo does not: %s",
                                          name, items[i].help);
    }
    g_autofree char *near = suggest_nearest(name, names);
    return error_set(error, "'%s' is no log item%s%s%s", name, near ? " (did you mean '" : "",
                     near ? near : " (-d help lists them)", near ? "'?)" : "");
}

bool log_add_items(const char *list, GError **error)
{
    g_auto(GStrv) names = g_strsplit(list, ",", -1);
    bool ok = names[0] || error_set(error, "which items? (-d help lists them)");
    for (char **name = names; ok && *name; name++) {
        ok = add_item(*name, error);
    }
    return ok;
}

void log_help(GString *out)
{
    g_string_append(out, "Log items (with commas between):\n");
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        if (items[i].mask) {
            g_string_append_printf(out, "  %-14s %s\n", items[i].name, items[i].help);
        }
    }
    g_string_append(out, "  trace:PATTERN  trace points, as -trace PATTERN\n");
}

bool log_open(const char *path, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, "%d", -1);
    g_autofree char *pid = g_strdup_printf("%d", getpid());
    g_autofree char *name = g_strjoinv(pid, parts);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "cannot create '%s'", name);
    }
    log_close();
    file = fd;
    return true;
}

void log_close(void)
{
    if (file >= 0) {
        close(file);
        file = -1;
    }
}

int log_fd(void)
{
    return file;
}

void log_text(const char *text)
{
    /* A line that cannot be written has no other place to go. */
    ssize_t written = write(file >= 0 ? file : STDERR_FILENO, text, strlen(text));
    (void)written;
}

void log_line(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    log_text(line);
}
