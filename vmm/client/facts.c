/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine says of itself, and how it is written. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "vmm/client/commands.h"

#define SSH_PORT 22

/* ---- Forwarded ports: libslirp's table, as `info usernet` prints it ---- */

static bool parse_forward(const char *line, Forward *forward)
{
    char protocol[8];
    int fd;
    *forward = (Forward){ 0 };
    int n = sscanf(line, " %7[A-Z][HOST_FORWARD] %d %63s %u %63s %u", protocol, &fd, forward->host,
                   &forward->host_port, forward->guest, &forward->guest_port);
    forward->udp = n == 6 && strcmp(protocol, "UDP") == 0;
    return n == 6 && (forward->udp || strcmp(protocol, "TCP") == 0);
}

GArray *facts_forwards(QmpClient *client, GError **error)
{
    g_autofree char *text = qmp_client_hmp(client, "info usernet", error);
    if (!text) {
        return NULL;
    }
    GArray *forwards = g_array_new(FALSE, FALSE, sizeof(Forward));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        Forward forward;
        if (parse_forward(*line, &forward)) {
            g_array_append_val(forwards, forward);
        }
    }
    return forwards;
}

const Forward *facts_ssh(const GArray *forwards)
{
    for (guint i = 0; i < forwards->len; i++) {
        const Forward *forward = &g_array_index(forwards, Forward, i);
        if (!forward->udp && forward->guest_port == SSH_PORT) {
            return forward;
        }
    }
    return NULL;
}

/* ---- Values ---- */

int64_t facts_number(json_object *object, const char *key, int64_t missing)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : missing;
}

char *facts_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_autoptr(GString) out = g_string_new(NULL);
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(out, g_unichar_iscntrl(c) ? '?' : c);
    }
    return g_strdup(out->str);
}

char *facts_text(json_object *object, const char *key)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return json_object_is_type(value, json_type_string)
               ? facts_printable(json_object_get_string(value))
               : NULL;
}

char *facts_status(QmpClient *client, GError **error)
{
    json_object *answer = qmp_client_run(client, "query-status", NULL, error);
    if (!answer) {
        return NULL;
    }
    char *status = json_object_is_type(answer, json_type_object) ? facts_text(answer, "status")
                                                                 : NULL;
    json_object_put(answer);
    return status ? status : g_strdup("unknown");
}

int64_t facts_uptime(const RunEntry *entry)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t start = entry->info ? facts_number(entry->info, "boottime", -1) : -1;
    return start < 0 || start > now.tv_sec ? -1 : now.tv_sec - start;
}

char *facts_duration(int64_t seconds)
{
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    if (seconds < 0) {
        return g_strdup("?");
    }
    int hours = (int)(seconds % DAY / HOUR), minutes = (int)(seconds % HOUR / MINUTE);
    return seconds >= DAY
               ? g_strdup_printf("%" G_GINT64_FORMAT " days %02d:%02d", seconds / DAY, hours,
                                 minutes)
               : g_strdup_printf("%02d:%02d:%02d", hours, minutes, (int)(seconds % MINUTE));
}

char *facts_size(uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double size = (double)bytes;
    size_t i = 0;
    while (size >= 1024 && i + 1 < G_N_ELEMENTS(units)) {
        size /= 1024;
        i++;
    }
    return g_strdup_printf("%.4g %s", size, units[i]);
}

bool client_wants_json(const ClientArgs *args, unsigned option)
{
    return g_strcmp0(args->values[option], "json") == 0;
}

void client_print_json(json_object *object)
{
    printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE));
}
