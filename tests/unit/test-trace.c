/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trace points: patterns, files of patterns, lines of the log, many threads at once. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "vmm/device/irq.h"
#include "vmm/trace/trace.h"

#define THREADS          4
#define LINES_PER_THREAD 20000

static char *log_path;

static void count_on(const char *name, const char *format, bool on, void *opaque)
{
    *(unsigned *)opaque += on;
}

static unsigned on_points(const char *pattern)
{
    unsigned count = 0;
    trace_foreach(pattern, count_on, &count);
    return count;
}

static void apply(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(trace_apply(text, &error));
    g_assert_no_error(error);
}

static void refuse(const char *text, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(trace_apply(text, &error));
    g_assert_nonnull(strstr(error->message, says));
}

static void test_patterns(void)
{
    unsigned all = trace_foreach(NULL, count_on, &(unsigned){ 0 });
    g_assert_cmpuint(all, >=, 60);
    g_assert_cmpuint(on_points(NULL), ==, 0);
    apply("irq_set");
    g_assert_cmpuint(on_points(NULL), ==, 1);
    g_assert_cmpuint(on_points("irq_set"), ==, 1);
    apply("virtqueue_*");
    g_assert_cmpuint(on_points("virtqueue_*"), ==, trace_foreach("virtqueue_*", count_on, &all));
    apply("-virtqueue_p?p");
    g_assert_cmpuint(on_points("virtqueue_pop"), ==, 0);
    g_assert_cmpuint(on_points("virtqueue_push"), ==, 1);
    apply("-*");
    apply("*qu*e_p?p*");
    g_assert_cmpuint(on_points(NULL), ==, 1);
    apply("*");
    g_assert_cmpuint(on_points(NULL), ==, trace_foreach(NULL, count_on, &all));
    apply("-*");
    g_assert_cmpuint(on_points(NULL), ==, 0);
}

static void test_bad_patterns(void)
{
    refuse("", "empty");
    refuse("-", "empty");
    refuse("irq_sett", "did you mean 'irq_set'");
    refuse("-irq_sett", "did you mean 'irq_set'");
    refuse("nothing_like_it_anywhere", "there is no trace point");
    refuse("*irq_set?", "no trace point matches");
    refuse("\xc3*", "no trace point matches");
    refuse("\xff\xfe", "there is no trace point");
    refuse("nix*", "no trace point matches 'nix*'");
    g_assert_cmpuint(on_points(NULL), ==, 0);
}

static bool apply_lines(const char *text, size_t len, char **message)
{
    g_autoptr(GError) error = NULL;
    bool ok = trace_apply_lines("list", text, len, &error);
    *message = error ? g_strdup(error->message) : NULL;
    return ok;
}

static void test_files_of_patterns(void)
{
    g_autofree char *message = NULL, *second = NULL, *third = NULL;
    static const char good[] = "# all of qcow2\n\n  qcow2_*  \r\n-qcow2_alloc";
    g_assert_true(apply_lines(good, strlen(good), &message));
    g_assert_cmpuint(on_points("qcow2_commit_*"), ==, 2);
    g_assert_cmpuint(on_points("qcow2_alloc"), ==, 0);
    g_assert_false(apply_lines("irq_set\nirq_sot\n", 16, &second));
    g_assert_nonnull(strstr(second, "list:2: there is no trace point 'irq_sot' (did you mean"));
    g_assert_false(apply_lines("irq_\0set", 8, &third));
    g_assert_nonnull(strstr(third, "list:1: not a text"));
    apply("-*");
}

static void test_missing_files(void)
{
    GError *error = NULL;
    g_assert_false(trace_apply_file("/nonexistent/list", &error));
    g_assert_nonnull(strstr(error->message, "/nonexistent/list"));
    g_clear_error(&error);
    g_assert_false(trace_apply_file("/dev/zero", &error));
    g_assert_nonnull(strstr(error->message, "longer than 1 MiB"));
    g_clear_error(&error);
    g_assert_false(trace_apply_file("/", &error));
    g_clear_error(&error);
    g_assert_false(trace_set_file("/nonexistent/log", &error));
    g_clear_error(&error);
}

static char *read_log(void)
{
    char *text;
    g_assert_true(g_file_get_contents(log_path, &text, NULL, NULL));
    return text;
}

static gpointer log_many(gpointer data)
{
    for (int i = 0; i < LINES_PER_THREAD; i++) {
        trace_log("thread_line", "thread=%d number=%d text=%s", GPOINTER_TO_INT(data), i,
                  "abcdefghijklmnopqrstuvwxyz");
    }
    return NULL;
}

/* A line of log_many()'s is whole and the next of its thread; what is missing was told as lost. */
static unsigned check_many(const char *log)
{
    unsigned found = 0;
    guint64 lost = 0;
    int next[THREADS] = { 0 };
    const char *end = log + strlen(log);
    for (const char *stop; (stop = memchr(log, '\n', (size_t)(end - log))); log = stop + 1) {
        g_autofree char *line = g_strndup(log, (gsize)(stop - log));
        const char *at = strstr(line, ":thread_line ");
        const char *told = strstr(line, ":trace_lost lines=");
        if (told) {
            lost += g_ascii_strtoull(told + strlen(":trace_lost lines="), NULL, 10);
        }
        if (at) {
            int thread, number, used = 0;
            g_assert_cmpint(sscanf(at,
                                   ":thread_line thread=%d number=%d text=abcdefghijklmnop"
                                   "qrstuvwxyz%n",
                                   &thread, &number, &used),
                            ==, 2);
            g_assert_cmpint(at[used], ==, '\0');
            g_assert_cmpint(number, >=, next[thread]);
            next[thread] = number + 1;
            found++;
        }
    }
    return found + (unsigned)lost;
}

static void irq_handler(void *opaque, int pin, int level)
{
}

/* The only log of this process: opened here, ended here. */
static void test_the_log(void)
{
    GError *error = NULL;
    GThread *threads[THREADS];
    IrqLine line = { .handler = irq_handler, .pin = 7 };
    log_path = g_strdup_printf("%s/vireo-test-trace-%d", g_get_tmp_dir(), getpid());
    g_assert_true(trace_set_file(log_path, &error));
    g_assert_false(trace_set_file(log_path, &error));
    g_assert_nonnull(strstr(error->message, "was given before"));
    g_clear_error(&error);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("log", log_many, GINT_TO_POINTER(i));
    }
    for (int i = 0; i < 1000; i++) { /* meanwhile points go on and off */
        apply(i & 1 ? "-irq_set" : "irq_set");
        irq_set(&line, i);
    }
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    g_autofree char *huge = g_strnfill(100000, 'x');
    trace_log("guest_text", "text=%s", "a\nb\rc\x1b[0m");
    trace_log("huge", "text=%s", huge);
    apply("irq_set");
    irq_set(&line, 77);
    trace_finish();
    trace_log("too_late", "number=%d", 1);
    g_autofree char *log = read_log();
    g_autofree char *head = g_strdup_printf("%d@", getpid());
    g_assert_true(g_str_has_prefix(log, head));
    g_assert_cmpuint(check_many(log), ==, THREADS * LINES_PER_THREAD);
    g_assert_nonnull(strstr(log, "pin=7 level=77\n"));
    g_assert_nonnull(strstr(log, ":guest_text text=a?b?c?[0m\n"));
    g_assert_nonnull(strstr(log, ":huge text=xxxx"));
    g_assert_null(strstr(log, "too_late"));
    g_assert_cmpuint(strlen(log), <, strlen("x") * THREADS * LINES_PER_THREAD * 128);
    g_unlink(log_path);
    g_free(log_path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trace/patterns", test_patterns);
    g_test_add_func("/trace/bad-patterns", test_bad_patterns);
    g_test_add_func("/trace/files-of-patterns", test_files_of_patterns);
    g_test_add_func("/trace/missing-files", test_missing_files);
    g_test_add_func("/trace/the-log", test_the_log);
    return g_test_run();
}
