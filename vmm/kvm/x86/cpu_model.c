/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of -cpu. */
#include "vmm/kvm/x86/cpu_model.h"

#include <string.h>
#include "vmm/cli/opts.h"

static const struct {
    const char *name, *desc;
} cpu_models[] = {
    { "host", "the host's processor, with all features that KVM can give a guest" },
    { "max", "the same as host" },
};

static const char *const cpu_properties[] = {
    "kvm",     "pmu",   "migratable", "host-phys-bits", "phys-bits", "tsc-frequency",
    "enforce", "check", NULL,
};

/* Properties of QEMU that a script may name and Vireo has not: said as such. */
static bool cpu_property_of_qemu(const char *key)
{
    static const char *const names[] = {
        "l3-cache",
        "level",
        "xlevel",
        "min-level",
        "min-xlevel",
        "family",
        "model",
        "stepping",
        "vendor",
        "model-id",
        "host-cache-info",
        "fill-mtrr-mask",
        "tcg-cpuid",
        "x-intel-pt-auto-level",
        "cpuid-0xb",
        "full-cpuid-auto-level",
        "ucode-rev",
        "host-phys-bits-limit",
        "lmce",
        "apic-id",
        "vmware-cpuid-freq",
        "legacy-cache",
        "cpu-pm",
        "kvm-pv-enforce-cpuid",
        "xen-vapic",
        "start-powered-off",
    };
    if (g_str_has_prefix(key, "hv-") || g_str_has_prefix(key, "hv_")) {
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool cpu_unknown_feature(const char *name, GError **error)
{
    if (cpu_property_of_qemu(name)) {
        return error_set(error, "'%s' is known from QEMU but not supported here", name);
    }
    g_autofree char *near = feature_suggest(name);
    if (!near) {
        near = suggest_nearest(name, cpu_properties);
    }
    if (near) {
        return error_set(error, "unknown feature '%s'; did you mean '%s'?", name, near);
    }
    return error_set(error, "unknown feature '%s'; '-cpu help' lists them", name);
}

static bool cpu_set_feature(CpuModel *model, const char *name, bool on, GError **error)
{
    uint32_t masks[FEATURE_WORDS];
    if (!feature_find(name, masks)) {
        return cpu_unknown_feature(name, error);
    }
    for (unsigned word = 0; word < FEATURE_WORDS; word++) {
        if (on) {
            model->on[word] |= masks[word];
            model->off[word] &= ~masks[word];
        } else {
            model->off[word] |= masks[word];
            model->on[word] &= ~masks[word];
        }
    }
    return true;
}

static bool cpu_parse_flag(const char *key, const char *value, bool *flag, GError **error)
{
    if (!parse_bool(value, flag)) {
        return error_set(error, "%s=%s: expected on or off", key, value);
    }
    return true;
}

static bool cpu_parse_number(const char *key, const char *value, uint64_t min, uint64_t max,
                             uint64_t *number, GError **error)
{
    if (!parse_uint(value, max, number) || *number < min) {
        return error_set(error, "%s=%s: expected a number from %" PRIu64 " to %" PRIu64, key, value,
                         min, max);
    }
    return true;
}

static bool cpu_parse_frequency(CpuModel *model, const char *value, GError **error)
{
    /* Hertz, with decimal suffixes as in QEMU: 2.5G is 2500000000. */
    char *end;
    double number = g_ascii_strtod(value, &end);
    double unit = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1;
    bool suffix = unit > 1;
    if (end == value || end[suffix ? 1 : 0] != '\0' || !(number * unit >= 1e6) ||
        !(number * unit <= 1e11)) {
        return error_set(error,
                         "tsc-frequency=%s: expected a frequency in Hz from 1M to "
                         "100G",
                         value);
    }
    model->tsc_frequency = (uint64_t)(number * unit);
    return true;
}

static bool cpu_parse_property(CpuModel *model, const char *key, const char *value, GError **error)
{
    bool flag = false;
    uint64_t number = 0;
    if (strcmp(key, "kvm") == 0) {
        return cpu_parse_flag(key, value, &model->kvm, error);
    }
    if (strcmp(key, "pmu") == 0) {
        return cpu_parse_flag(key, value, &model->pmu, error);
    }
    if (strcmp(key, "migratable") == 0) {
        return cpu_parse_flag(key, value, &model->migratable, error);
    }
    if (strcmp(key, "enforce") == 0 || strcmp(key, "check") == 0) {
        /* A feature that the host lacks is an error always. */
        return cpu_parse_flag(key, value, &flag, error);
    }
    if (strcmp(key, "host-phys-bits") == 0) {
        if (!cpu_parse_flag(key, value, &flag, error)) {
            return false;
        }
        return flag || error_set(error, "host-phys-bits=off: give the number with phys-bits=");
    }
    if (strcmp(key, "phys-bits") == 0) {
        if (!cpu_parse_number(key, value, 0, 52, &number, error)) {
            return false;
        }
        if (number != 0 && number < 32) {
            return error_set(error, "phys-bits=%s: expected 0 (the host's) or 32 to 52", value);
        }
        model->phys_bits = (unsigned)number;
        return true;
    }
    if (strcmp(key, "tsc-frequency") == 0) {
        return cpu_parse_frequency(model, value, error);
    }
    if (!feature_find(key, (uint32_t[FEATURE_WORDS]){ 0 })) {
        return cpu_unknown_feature(key, error);
    }
    return cpu_parse_flag(key, value, &flag, error) && cpu_set_feature(model, key, flag, error);
}

static bool cpu_parse_element(CpuModel *model, const char *element, GError **error)
{
    if (element[0] == '+' || element[0] == '-') {
        return cpu_set_feature(model, element + 1, element[0] == '+', error);
    }
    const char *equals = strchr(element, '=');
    if (!equals) {
        /* A bare name is on, as in QEMU. */
        return cpu_parse_property(model, element, "on", error);
    }
    g_autofree char *key = g_strndup(element, (gsize)(equals - element));
    return cpu_parse_property(model, key, equals + 1, error);
}

static bool cpu_find_model(CpuModel *model, const char *name, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cpu_models); i++) {
        if (strcmp(cpu_models[i].name, name) == 0) {
            model->name = cpu_models[i].name;
            return true;
        }
        g_string_append_printf(known, "%s%s", i ? ", " : "", cpu_models[i].name);
    }
    return error_set(error, "there is no CPU model '%s'; the models are: %s", name, known->str);
}

bool cpu_model_parse(CpuModel *model, const char *text, GError **error)
{
    *model = (CpuModel){ .kvm = true, .pmu = true, .migratable = true };
    g_auto(GStrv) elements = g_strsplit(text ? text : "host", ",", -1);
    if (!elements[0] || elements[0][0] == '\0') {
        return error_set(error, "the model's name is missing");
    }
    if (!cpu_find_model(model, elements[0], error)) {
        return false;
    }
    for (unsigned i = 1; elements[i]; i++) {
        if (elements[i][0] == '\0') {
            return error_set(error, "empty element in '%s'", text);
        }
        if (!cpu_parse_element(model, elements[i], error)) {
            return false;
        }
    }
    return true;
}

void cpu_model_help(GString *out)
{
    g_string_append(out, "Available CPUs:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(cpu_models); i++) {
        g_string_append_printf(out, "  %-10s %s\n", cpu_models[i].name, cpu_models[i].desc);
    }
    g_string_append(out, "\nProperties (NAME=VALUE):\n  ");
    for (unsigned i = 0; cpu_properties[i]; i++) {
        g_string_append_printf(out, "%s%s", i ? " " : "", cpu_properties[i]);
    }
    g_string_append(out, "\n\nRecognized CPUID flags (+NAME, -NAME, NAME=on|off):\n");
    g_autoptr(GPtrArray) names = feature_names();
    unsigned column = 0;
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        if (column + strlen(name) + 1 > 78) {
            g_string_append_c(out, '\n');
            column = 0;
        }
        g_string_append_printf(out, "%s%s", column ? " " : "  ", name);
        column += (column ? 1 : 2) + (unsigned)strlen(name);
    }
    g_string_append_c(out, '\n');
}
