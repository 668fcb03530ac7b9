/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of -cpu. */
#include "vmm/kvm/x86/cpu_model.h"

#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include "vmm/cli/opts.h"

#define NUMBER_MAX UINT32_MAX
#define CPU_TYPE   "x86_64-cpu" /* of all models; one model's is NAME-x86_64-cpu */

/* Models that are no table's entry. */
static const struct {
    const char *name, *desc;
} special_models[] = {
    { "base", "no features at all: start of a model made of +features" },
    { "host", "the host's processor, with all features that KVM can give a guest (default)" },
    { "max", "the same as host" },
};

/* What KVM guests have always had on top of a named model, and without. */
static const char usual_features[] = "kvmclock kvm-nopiodelay kvm-asyncpf kvm-steal-time "
                                     "kvm-pv-eoi kvmclock-stable-bit x2apic hypervisor";
static const char unusual_features[] = "acpi monitor svm";

typedef enum CpuPropertyKind {
    CPU_BOOL,
    CPU_NUMBER,
    CPU_TEXT,      /* vendor, model-id */
    CPU_FREQUENCY, /* Hz with decimal suffixes */
} CpuPropertyKind;

typedef struct CpuProperty {
    const char *name;
    CpuPropertyKind kind;
    size_t offset;
    uint64_t min, max; /* a text's: the length */
} CpuProperty;

#define FIELD(NAME) offsetof(CpuModel, NAME)
/* clang-format off */
static const CpuProperty properties[] = {
    { "check", CPU_BOOL, FIELD(check) },
    { "enforce", CPU_BOOL, FIELD(enforce) },
    { "kvm", CPU_BOOL, FIELD(kvm) },
    { "pmu", CPU_BOOL, FIELD(pmu) },
    { "migratable", CPU_BOOL, FIELD(migratable) },
    { "l3-cache", CPU_BOOL, FIELD(l3_cache) },
    { "legacy-cache", CPU_BOOL, FIELD(legacy_cache) },
    { "host-cache-info", CPU_BOOL, FIELD(host_cache_info) },
    { "x-vendor-cpuid-only", CPU_BOOL, FIELD(vendor_cpuid_only) },
    { "cpuid-0xb", CPU_BOOL, FIELD(cpuid_0xb) },
    { "vmware-cpuid-freq", CPU_BOOL, FIELD(frequency_leaf) },
    { "kvm-pv-enforce-cpuid", CPU_BOOL, FIELD(enforce_pv) },
    { "full-cpuid-auto-level", CPU_BOOL, FIELD(auto_level) },
    { "host-phys-bits", CPU_BOOL, FIELD(host_phys_bits) },
    { "host-phys-bits-limit", CPU_NUMBER, FIELD(host_phys_bits_limit), 0, 64 },
    { "phys-bits", CPU_NUMBER, FIELD(phys_bits), 0, 52 },
    { "tsc-frequency", CPU_FREQUENCY, FIELD(tsc_frequency) },
    { "family", CPU_NUMBER, FIELD(family), 0, 0xff + 0xf },
    { "model", CPU_NUMBER, FIELD(model), 0, 0xff },
    { "stepping", CPU_NUMBER, FIELD(stepping), 0, 0xf },
    { "level", CPU_NUMBER, FIELD(level), 0, NUMBER_MAX },
    { "xlevel", CPU_NUMBER, FIELD(xlevel), 0, NUMBER_MAX },
    { "min-level", CPU_NUMBER, FIELD(min_level), 0, NUMBER_MAX },
    { "min-xlevel", CPU_NUMBER, FIELD(min_xlevel), 0, NUMBER_MAX },
    { "ucode-rev", CPU_NUMBER, FIELD(ucode_rev), 0, UINT64_MAX },
    { "vendor", CPU_TEXT, FIELD(vendor), CPU_VENDOR_LEN, CPU_VENDOR_LEN },
    { "model-id", CPU_TEXT, FIELD(id), 0, CPU_MODEL_ID_MAX },
};
/* clang-format on */

/* Properties of QEMU that a script may name and Vireo has not: said as such. */
static const char *const foreign_properties[] = {
    "fill-mtrr-mask",
    "tcg-cpuid",
    "x-intel-pt-auto-level",
    "lmce",
    "apic-id",
    "xen-vapic",
    "start-powered-off",
    "min-xlevel2",
    "xlevel2",
    "level-func7",
    "lbr-fmt",
    "intel-pt-lip",
    "hv-evmcs",
    "hv-emsr-bitmap",
    "hv-syndbg",
    "hv-tlbflush-direct",
    "x-hv-max-vps",
    "x-force-features",
    "x-migrate-smi-count",
    "sgx1",
    "sgx2",
    "sgx-debug",
    "sgx-mode64",
};

static void *field_of(const CpuModel *model, const CpuProperty *prop)
{
    return (uint8_t *)model + prop->offset;
}

static const CpuProperty *find_property(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (strcmp(properties[i].name, name) == 0) {
            return &properties[i];
        }
    }
    return NULL;
}

static bool property_of_qemu(const char *key)
{
    for (size_t i = 0; i < G_N_ELEMENTS(foreign_properties); i++) {
        if (strcmp(foreign_properties[i], key) == 0) {
            return true;
        }
    }
    return g_str_has_prefix(key, "vmx-");
}

static bool unknown_feature(const char *name, GError **error)
{
    if (property_of_qemu(name)) {
        return error_set(error, "'%s' is known from QEMU but not supported here", name);
    }
    const char *own[G_N_ELEMENTS(properties) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        own[i] = properties[i].name;
    }
    g_autofree char *near = feature_suggest(name);
    if (!near) {
        near = suggest_nearest(name, own);
    }
    if (!near) {
        near = suggest_nearest(name, hyperv_names());
    }
    if (near) {
        return error_set(error, "unknown feature '%s'; did you mean '%s'?", name, near);
    }
    return error_set(error, "unknown feature '%s'; '-cpu help' lists them", name);
}

static bool set_feature(CpuModel *model, const char *name, bool on, GError **error)
{
    uint32_t masks[FEATURE_WORDS];
    if (!feature_find(name, masks)) {
        return unknown_feature(name, error);
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

/* ---- Values ---- */

static bool set_frequency(CpuModel *model, const char *value, GError **error)
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

static bool set_number(CpuModel *model, const CpuProperty *prop, const char *value, GError **error)
{
    uint64_t number = 0;
    if (!parse_uint(value, prop->max, &number) || number < prop->min) {
        return error_set(error, "%s=%s: expected a number from %" PRIu64 " to %" PRIu64, prop->name,
                         value, prop->min, prop->max);
    }
    if (prop->offset == FIELD(phys_bits) && number != 0 && number < 32) {
        return error_set(error, "phys-bits=%s: expected 0 (the host's) or 32 to 52", value);
    }
    *(uint64_t *)field_of(model, prop) = number;
    return true;
}

static bool set_text(CpuModel *model, const CpuProperty *prop, const char *value, GError **error)
{
    size_t len = strlen(value);
    if (len < prop->min) {
        return error_set(error, "%s=%s: expected %u characters, as in GenuineIntel", prop->name,
                         value, (unsigned)prop->min);
    }
    if (len > prop->max) {
        return error_set(error, "%s=%s: at most %u characters", prop->name, value,
                         (unsigned)prop->max);
    }
    g_strlcpy(field_of(model, prop), value, prop->max + 1);
    model->has_id |= prop->offset == FIELD(id);
    return true;
}

static bool set_property(CpuModel *model, const CpuProperty *prop, const char *value,
                         GError **error)
{
    switch (prop->kind) {
    case CPU_BOOL:
        return parse_bool(value, field_of(model, prop)) ||
               error_set(error, "%s=%s: expected on or off", prop->name, value);
    case CPU_NUMBER:
        return set_number(model, prop, value, error);
    case CPU_TEXT:
        return set_text(model, prop, value, error);
    default:
        return set_frequency(model, value, error);
    }
}

bool cpu_model_set(CpuModel *model, const char *name, const char *value, GError **error)
{
    g_autofree char *key = g_strdelimit(g_strdup(name), "_", '-');
    const CpuProperty *prop = find_property(key);
    bool flag = false;
    if (prop) {
        return set_property(model, prop, value, error);
    }
    if (g_str_has_prefix(key, "hv-")) {
        bool known = false;
        bool ok = hyperv_set(&model->hyperv, key, value, &known, error);
        return known || !ok ? ok : unknown_feature(key, error);
    }
    if (!feature_find(key, (uint32_t[FEATURE_WORDS]){ 0 })) {
        return unknown_feature(name, error);
    }
    if (!parse_bool(value, &flag)) {
        return error_set(error, "%s=%s: expected on or off", name, value);
    }
    return set_feature(model, key, flag, error);
}

static bool parse_element(CpuModel *model, const char *element, GError **error)
{
    if (element[0] == '+' || element[0] == '-') {
        return set_feature(model, element + 1, element[0] == '+', error);
    }
    const char *equals = strchr(element, '=');
    if (!equals) {
        /* A bare name is on, as in QEMU. */
        return cpu_model_set(model, element, "on", error);
    }
    g_autofree char *key = g_strndup(element, (gsize)(equals - element));
    return cpu_model_set(model, key, equals + 1, error);
}

/* ---- Models ---- */

static void collect_name(const char *name, const char *alias_of, const CpuDefinition *def,
                         const char *note, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(name));
}

static bool unknown_model(const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(special_models); i++) {
        g_ptr_array_add(names, g_strdup(special_models[i].name));
    }
    cpu_models_foreach(collect_name, names);
    g_ptr_array_add(names, NULL);
    g_autofree char *near = suggest_nearest(name, (const char *const *)names->pdata);
    if (near) {
        return error_set(error, "there is no CPU model '%s'; did you mean '%s'?", name, near);
    }
    return error_set(error, "there is no CPU model '%s'; '-cpu help' lists them", name);
}

static void set_defaults(CpuModel *model)
{
    *model = (CpuModel){
        .kvm = true,
        .migratable = true,
        .check = true,
        .l3_cache = true,
        .vendor_cpuid_only = true,
        .cpuid_0xb = true,
        .frequency_leaf = true,
        .auto_level = true,
        .family = CPU_NUMBER_UNSET,
        .model = CPU_NUMBER_UNSET,
        .stepping = CPU_NUMBER_UNSET,
        .level = CPU_NUMBER_UNSET,
        .xlevel = CPU_NUMBER_UNSET,
        .min_level = CPU_NUMBER_UNSET,
        .min_xlevel = CPU_NUMBER_UNSET,
    };
    hyperv_defaults(&model->hyperv);
}

/* What older versions of the machine say of all models and of this one. */
static void apply_compat(CpuModel *model, const CompatProp *const *compat)
{
    g_autofree char *type = g_strconcat(model->name, "-" CPU_TYPE, NULL);
    for (; compat && *compat; compat++) {
        for (const CompatProp *row = *compat; row->driver; row++) {
            if (g_str_equal(row->driver, CPU_TYPE) || g_str_equal(row->driver, type)) {
                bool ok = cpu_model_set(model, row->property, row->value, NULL);
                g_assert(ok); /* the tables are ours; a test reads them all */
            }
        }
    }
}

static bool init_model(CpuModel *model, const char *name, GError **error)
{
    set_defaults(model);
    if (name[0] == '\0') {
        return error_set(error, "the model's name is missing");
    }
    g_strlcpy(model->name, name, sizeof(model->name));
    if (g_str_equal(name, "host") || g_str_equal(name, "max")) {
        model->host = model->pmu = model->host_phys_bits = model->host_cache_info = true;
        return true;
    }
    if (g_str_equal(name, "base")) {
        return true;
    }
    if (!cpu_models_find(name, &model->def)) {
        return unknown_model(name, error);
    }
    model->legacy_cache = model->def.entry->caches == NULL;
    feature_add_list(usual_features, model->usual);
    feature_add_list(unusual_features, model->unusual);
    return true;
}

bool cpu_model_init(CpuModel *model, const char *name, const CompatProp *const *compat,
                    GError **error)
{
    if (!init_model(model, name, error)) {
        return false;
    }
    apply_compat(model, compat);
    return true;
}

bool cpu_model_parse(CpuModel *model, const char *text, const CompatProp *const *compat,
                     GError **error)
{
    g_auto(GStrv) elements = g_strsplit(text ? text : "host", ",", -1);
    if (!cpu_model_init(model, elements[0] ? elements[0] : "", compat, error)) {
        return false;
    }
    for (unsigned i = 1; elements[i]; i++) {
        if (elements[i][0] == '\0') {
            return error_set(error, "empty element in '%s'", text);
        }
        if (!parse_element(model, elements[i], error)) {
            return false;
        }
    }
    return true;
}

void cpu_model_features(const CpuModel *model, uint32_t features[FEATURE_WORDS])
{
    uint32_t off[FEATURE_WORDS];
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        off[i] = (model->unusual[i] & ~model->on[i]) | model->off[i];
    }
    feature_add_dependents(off);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        features[i] = ((model->def.features[i] | model->usual[i]) & ~off[i]) | model->on[i];
    }
}

/* ---- What the host has of it ---- */

/* What `-cpu host` does not get unless asked for by name. */
static void host_default_off(const CpuModel *model, uint32_t off[FEATURE_WORDS])
{
    memset(off, 0, FEATURE_WORDS * sizeof(off[0]));
    off[FEATURE_KVM_HINTS] = ~0u;
    if (model->migratable) {
        off[FEATURE_8000_0007_EDX] |= 1u << 8; /* invtsc */
    }
}

char *cpu_model_missing(const CpuModel *model, const uint32_t supported[FEATURE_WORDS])
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint32_t wanted[FEATURE_WORDS];
    cpu_model_features(model, wanted);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        const FeatureWord *word = &feature_words[i];
        uint32_t missing = wanted[i] & (model->def.features[i] | model->on[i]) & ~supported[i];
        /* A name can stand for several bits (kvmclock): one of them is enough. */
        if (i == FEATURE_KVM && model->on[i] & supported[i]) {
            missing = 0;
        }
        for (unsigned bit = 0; bit < 32; bit++) {
            if (missing & 1u << bit) {
                g_string_append_printf(text, "%s'%s' (%s bit %u)", text->len ? ", " : "",
                                       feature_bit_name(i, bit), word->label, bit);
            }
        }
    }
    return text->len ? g_strdup(text->str) : NULL;
}

void cpu_model_resolve(const CpuModel *model, const uint32_t supported[FEATURE_WORDS],
                       uint32_t words[FEATURE_WORDS])
{
    uint32_t wanted[FEATURE_WORDS], gone[FEATURE_WORDS];
    cpu_model_features(model, wanted);
    if (model->host) {
        uint32_t off[FEATURE_WORDS];
        host_default_off(model, off);
        for (unsigned i = 0; i < FEATURE_WORDS; i++) {
            gone[i] = model->off[i];
        }
        feature_add_dependents(gone);
        for (unsigned i = 0; i < FEATURE_WORDS; i++) {
            words[i] = (supported[i] & ~off[i] & ~gone[i]) | (model->on[i] & supported[i]);
        }
        return;
    }
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        words[i] = wanted[i] & supported[i];
        gone[i] = wanted[i] & ~supported[i];
    }
    feature_add_dependents(gone);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        words[i] &= ~gone[i];
    }
}

/* ---- What is told ---- */

static json_object *property_json(const CpuModel *model, const CpuProperty *prop)
{
    switch (prop->kind) {
    case CPU_BOOL:
        return json_object_new_boolean(*(bool *)field_of(model, prop));
    case CPU_TEXT:
        return json_object_new_string(field_of(model, prop));
    default:
        return json_object_new_uint64(*(uint64_t *)field_of(model, prop));
    }
}

static void set_unset(uint64_t *field, uint64_t value)
{
    *field = *field == CPU_NUMBER_UNSET ? value : *field;
}

/* What host and max take from the processor itself (CPUID 0, 1, 80000000 to 80000004). */
static void identify_host(CpuModel *model)
{
    uint32_t a, b, c, d, brand[12] = { 0 };
    if (!__get_cpuid(0, &a, &b, &c, &d)) {
        return;
    }
    if (!model->vendor[0]) {
        const uint32_t vendor[] = { b, d, c };
        memcpy(model->vendor, vendor, CPU_VENDOR_LEN);
    }
    set_unset(&model->level, a);
    set_unset(&model->min_level, a);
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        uint32_t family = a >> 8 & 0xf;
        set_unset(&model->family, family == 0xf ? family + (a >> 20 & 0xff) : family);
        set_unset(&model->model, (a >> 4 & 0xf) | (a >> 12 & 0xf0));
        set_unset(&model->stepping, a & 0xf);
    }
    uint32_t last = __get_cpuid_max(0x80000000, NULL);
    set_unset(&model->xlevel, last);
    set_unset(&model->min_xlevel, last);
    for (unsigned i = 0; i < 3 && last >= 0x80000004; i++) {
        __get_cpuid(0x80000002 + i, &brand[i * 4], &brand[i * 4 + 1], &brand[i * 4 + 2],
                    &brand[i * 4 + 3]);
    }
    if (!model->has_id) {
        g_autofree char *text = g_strndup((const char *)brand, sizeof(brand));
        g_autofree char *valid = g_utf8_make_valid(text, -1);
        g_strlcpy(model->id, valid, sizeof(model->id));
    }
}

/* The properties that the host or a named model's entry decides when the user does not. */
static void add_identity(const CpuModel *given, bool host_known, json_object *out)
{
    CpuModel model = *given;
    if (model.host && host_known) {
        identify_host(&model);
    }
    const CpuModelEntry *entry = model.def.entry;
    const uint64_t values[][2] = {
        { FIELD(family), entry ? entry->family : 0 },
        { FIELD(model), model.def.model },
        { FIELD(stepping), model.def.stepping },
        { FIELD(level), entry ? entry->level : 0 },
        { FIELD(xlevel), entry ? entry->xlevel : 0 },
        { FIELD(min_level), entry ? entry->level : 0 },
        { FIELD(min_xlevel), entry ? entry->xlevel : 0 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        uint64_t *field = (uint64_t *)((uint8_t *)&model + values[i][0]);
        set_unset(field, values[i][1]);
    }
    if (!model.vendor[0] && entry) {
        g_strlcpy(model.vendor, entry->vendor, sizeof(model.vendor));
    }
    if (!model.has_id && entry) {
        g_strlcpy(model.id, model.def.id, sizeof(model.id));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        json_object_object_add(out, properties[i].name, property_json(&model, &properties[i]));
    }
}

json_object *cpu_model_to_json(const CpuModel *model, const uint32_t supported[FEATURE_WORDS])
{
    json_object *out = json_object_new_object();
    uint32_t features[FEATURE_WORDS], any = 0;
    cpu_model_features(model, features);
    for (unsigned word = 0; word < FEATURE_WORDS; word++) {
        any |= supported[word];
    }
    add_identity(model, any != 0, out);
    hyperv_to_json(&model->hyperv, out);
    for (unsigned word = 0; word < FEATURE_WORDS; word++) {
        if (model->host) {
            features[word] |= supported[word] & ~model->off[word];
        }
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = feature_words[word].names[bit];
            if (name) {
                json_object_object_add(out, name,
                                       json_object_new_boolean((features[word] >> bit & 1) != 0));
            }
        }
    }
    return out;
}

json_object *cpu_model_of_machine(const Machine *machine)
{
    CpuModel model;
    uint32_t offered[FEATURE_WORDS], asked[FEATURE_WORDS], given[FEATURE_WORDS];
    json_object *missing = json_object_new_array();
    if (!cpu_model_parse(&model, machine->config->cpu_model, machine->cls->compat, NULL)) {
        cpu_model_init(&model, "host", machine->cls->compat, NULL);
    }
    bool known = cpu_features_offered(machine, offered);
    json_object *out = cpu_model_to_json(&model, offered);
    cpu_model_features(&model, asked);
    cpu_model_resolve(&model, offered, given);
    for (unsigned i = 0; known && i < FEATURE_WORDS * 32; i++) {
        unsigned word = i / 32, bit = i % 32;
        const char *name = feature_words[word].names[bit];
        if (!name) {
            continue;
        }
        json_object_object_add(out, name, json_object_new_boolean(given[word] >> bit & 1));
        if ((asked[word] & ~given[word]) >> bit & 1) {
            json_object_array_add(missing, json_object_new_string(name));
        }
    }
    json_object_object_add(out, "unavailable-features", missing);
    return out;
}

static void help_model(const char *name, const char *alias_of, const CpuDefinition *def,
                       const char *note, void *opaque)
{
    if (alias_of) {
        g_string_append_printf(opaque, "x86 %-20s  (alias of %s)\n", name, alias_of);
    } else {
        g_string_append_printf(opaque, "x86 %-20s  %s%s%s%s\n", name, def->id, note ? " [" : "",
                               note ? note : "", note ? "]" : "");
    }
}

static void help_word(GString *out, unsigned *column, const char *name)
{
    if (*column + strlen(name) + 1 > 78) {
        g_string_append_c(out, '\n');
        *column = 0;
    }
    g_string_append_printf(out, "%s%s", *column ? " " : "  ", name);
    *column += (*column ? 1 : 2) + (unsigned)strlen(name);
}

void cpu_model_help(GString *out)
{
    unsigned column = 0;
    g_string_append(out, "Available CPUs:\n");
    cpu_models_foreach(help_model, out);
    for (size_t i = 0; i < G_N_ELEMENTS(special_models); i++) {
        g_string_append_printf(out, "x86 %-20s  %s\n", special_models[i].name,
                               special_models[i].desc);
    }
    g_string_append(out, "\nProperties (NAME=VALUE):\n");
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        help_word(out, &column, properties[i].name);
    }
    for (const char *const *name = hyperv_names(); *name; name++) {
        help_word(out, &column, *name);
    }
    column = 0;
    g_string_append(out, "\n\nRecognized CPUID flags (+NAME, -NAME, NAME=on|off):\n");
    g_autoptr(GPtrArray) names = feature_names();
    for (guint i = 0; i < names->len; i++) {
        help_word(out, &column, names->pdata[i]);
    }
    g_string_append_c(out, '\n');
}
