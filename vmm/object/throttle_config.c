/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O limits as options, and `-object throttle-group`. */
#include "vmm/object/throttle_group.h"

#define LIMIT_MAX 1000000000000000ULL /* QEMU's */

const char *const throttle_limit_names[THROTTLE_LIMITS] = {
    "bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write",
};

static bool parse_part(Opts *options, const char *name, const char *suffix, uint64_t *value,
                       GError **error)
{
    g_autofree char *key = g_strconcat(name, suffix, NULL);
    return opts_get_size(options, key, value, error);
}

bool throttle_config_parse(ThrottleConfig *config, Opts *options, GError **error)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        ThrottleLimit *limit = &config->limits[i];
        const char *name = throttle_limit_names[i];
        if (!parse_part(options, name, "", &limit->avg, error) ||
            !parse_part(options, name, "-max", &limit->max, error) ||
            !parse_part(options, name, "-max-length", &limit->length, error)) {
            return false;
        }
    }
    return opts_get_size(options, "iops-size", &config->iops_size, error) &&
           throttle_config_check(config, error);
}

bool throttle_config_enabled(const ThrottleConfig *config)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        if (config->limits[i].avg) {
            return true;
        }
    }
    return false;
}

static bool check_limit(const ThrottleLimit *l, const char *name, GError **error)
{
    if (l->avg > LIMIT_MAX || l->max > LIMIT_MAX) {
        return error_set(error, "%s: limits are at most %llu", name, LIMIT_MAX);
    }
    if (l->max && !l->avg) {
        return error_set(error, "%s-max needs %s", name, name);
    }
    if (l->max && l->max < l->avg) {
        return error_set(error, "%s-max is lower than %s", name, name);
    }
    if (l->length > 1 && !l->max) {
        return error_set(error, "%s-max-length needs %s-max", name, name);
    }
    if (l->length > 1 && l->max > LIMIT_MAX / l->length) {
        return error_set(error, "%s-max-length is too long", name);
    }
    return true;
}

bool throttle_config_check(const ThrottleConfig *c, GError **error)
{
    for (int i = 0; i < THROTTLE_LIMITS; i += 3) {
        bool total = c->limits[i].avg || c->limits[i].max;
        bool parts = c->limits[i + 1].avg || c->limits[i + 1].max || c->limits[i + 2].avg ||
                     c->limits[i + 2].max;
        if (total && parts) {
            return error_set(error, "%s and the limits of reads and writes exclude each other",
                             throttle_limit_names[i]);
        }
    }
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        if (!check_limit(&c->limits[i], throttle_limit_names[i], error)) {
            return false;
        }
    }
    return !c->iops_size || c->limits[THROTTLE_IOPS_TOTAL].avg ||
           c->limits[THROTTLE_IOPS_READ].avg || c->limits[THROTTLE_IOPS_WRITE].avg ||
           error_set(error, "iops-size needs a limit of operations");
}

/* ---- The object ---- */

typedef struct ThrottleObject {
    Object obj;
    ThrottleConfig config;
    json_object *limits;
    ThrottleGroup *group;
} ThrottleObject;

#define LIMIT_PROPS(name, index)                                                                   \
    PROP_U64("x-" name, ThrottleObject, config.limits[index].avg, 0, "a second; 0: no limit"),     \
        PROP_U64("x-" name "-max", ThrottleObject, config.limits[index].max, 0,                    \
                 "a second in a burst"),                                                           \
        PROP_U64("x-" name "-max-length", ThrottleObject, config.limits[index].length, 0,          \
                 "seconds that a burst may last")

static bool set_limits(void *base, json_object *value, GError **error);

static const Property throttle_props[] = {
    LIMIT_PROPS("bps-total", THROTTLE_BPS_TOTAL),
    LIMIT_PROPS("bps-read", THROTTLE_BPS_READ),
    LIMIT_PROPS("bps-write", THROTTLE_BPS_WRITE),
    LIMIT_PROPS("iops-total", THROTTLE_IOPS_TOTAL),
    LIMIT_PROPS("iops-read", THROTTLE_IOPS_READ),
    LIMIT_PROPS("iops-write", THROTTLE_IOPS_WRITE),
    PROP_U64("x-iops-size", ThrottleObject, config.iops_size, 0,
             "bytes that count as one operation; 0: any"),
    PROP_FIELD("limits", PROP_TYPE_JSON, ThrottleObject, limits,
               "the same without x-, as one structure; qom-set changes them",
               .set_live = set_limits),
    PROP_END,
};

static void put_part(json_object *limits, const char *name, const char *suffix, uint64_t value)
{
    g_autofree char *key = g_strconcat(name, suffix, NULL);
    json_object_object_add(limits, key, json_object_new_uint64(value));
}

/* What qom-get shows: all of them. */
static void show_limits(ThrottleObject *t)
{
    json_object_put(t->limits);
    t->limits = json_object_new_object();
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const ThrottleLimit *limit = &t->config.limits[i];
        put_part(t->limits, throttle_limit_names[i], "", limit->avg);
        put_part(t->limits, throttle_limit_names[i], "-max", limit->max);
        put_part(t->limits, throttle_limit_names[i], "-max-length", MAX(limit->length, 1));
    }
    put_part(t->limits, "iops-size", "", t->config.iops_size);
}

/* What limits has not stays in config as it is. */
static bool read_limits(ThrottleConfig *config, json_object *limits, GError **error)
{
    g_autoptr(Opts) options = opts_from_json(limits, error);
    if (!options) {
        g_prefix_error(error, "limits: ");
        return false;
    }
    return throttle_config_parse(config, options, error) &&
           opts_check_unused(options, "limits", NULL, error);
}

static bool set_limits(void *base, json_object *value, GError **error)
{
    ThrottleObject *t = base;
    ThrottleConfig config = t->config;
    if (!read_limits(&config, value, error)) {
        return false;
    }
    t->config = config;
    throttle_group_set(t->group, &config);
    show_limits(t);
    return true;
}

static bool throttle_complete(Object *obj, GError **error)
{
    ThrottleObject *t = (ThrottleObject *)obj;
    if (t->limits ? !read_limits(&t->config, t->limits, error)
                  : !throttle_config_check(&t->config, error)) {
        return false;
    }
    show_limits(t);
    t->group = throttle_group_get(obj->id, true, error);
    if (!t->group) {
        return false;
    }
    throttle_group_set(t->group, &t->config);
    return true;
}

static void throttle_finalize(Object *obj)
{
    throttle_group_unref(((ThrottleObject *)obj)->group);
}

const ObjectClass throttle_group_class = {
    .name = "throttle-group",
    .desc = "I/O limits that several disks share",
    .size = sizeof(ThrottleObject),
    .props = throttle_props,
    .complete = throttle_complete,
    .finalize = throttle_finalize,
};
