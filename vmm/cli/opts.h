/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option strings in QEMU's syntax: "implied,key=value,flag,key2=a,,b" or JSON. The parsed form is
 * an ordered list of dotted keys and values, the same for
 * `-netdev user,id=n`, its JSON form and netdev_add's arguments. A consumer asks for each key it
 * knows; what is left over is an error that names it.
 */
#ifndef VMM_CLI_OPTS_H
#define VMM_CLI_OPTS_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Opts Opts;

/* implied: the key of a first element without "=", or NULL. "no" prefixes and bare flags ("server")
 * give "on"/"off" as in QEMU. A text that begins with '{' is JSON. */
Opts *opts_parse(const char *text, const char *implied, GError **error);
Opts *opts_parse_json(const char *text, GError **error); /* the text of one JSON object */
Opts *opts_from_json(json_object *object,
                     GError **error); /* nested objects and lists flatten to "a.b", "a.0" */
Opts *opts_new(void);
void opts_free(Opts *opts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Opts, opts_free)

const char *opts_get(Opts *opts, const char *key); /* the last value, marked used; NULL */
bool opts_has(Opts *opts, const char *key);        /* does not mark */
void opts_set(Opts *opts, const char *key, const char *value);
void opts_remove(Opts *opts, const char *key);
/* Typed getters: *value is left alone when the key is absent; false and an error that names key and
 * value when it does not parse. */
bool opts_get_bool(Opts *opts, const char *key, bool *value, GError **error);
bool opts_get_uint(Opts *opts, const char *key, uint64_t max, uint64_t *value, GError **error);
bool opts_get_size(Opts *opts, const char *key, uint64_t *value,
                   GError **error); /* bytes; suffixes; no suffix: bytes */
bool opts_get_enum(Opts *opts, const char *key, const char *const *names, int *value,
                   GError **error);
/* Each repetition of the key in order (hostfwd=...,hostfwd=...), also "key.0", "key.1". Marks used.
 */
void opts_foreach(Opts *opts, const char *key, void (*fn)(const char *value, void *opaque),
                  void *opaque);
void opts_foreach_all(Opts *opts, void (*fn)(const char *key, const char *value, void *opaque),
                      void *opaque);
/* Those that nobody asked for yet; does not mark. */
void opts_foreach_unused(Opts *opts, void (*fn)(const char *key, const char *value, void *opaque),
                         void *opaque);
/* What starts with "prefix." becomes its own Opts without the prefix, marked used here; NULL when
 * there is none. */
Opts *opts_take_prefix(Opts *opts, const char *prefix);
/* False with "WHAT: unknown option 'key'" (and the nearest of `known`, NULL-terminated, may be
 * NULL) when a key was never asked for. */
bool opts_check_unused(Opts *opts, const char *what, const char *const *known, GError **error);
json_object *opts_to_json(Opts *opts); /* nested again; all values are strings */

/* Values by themselves. */
bool parse_bool(const char *text, bool *value); /* on off yes no true false */
bool parse_uint(const char *text, uint64_t max,
                uint64_t *value); /* decimal, 0x; no sign, no rest */
bool parse_size(const char *text, uint64_t unit,
                uint64_t *value); /* [0-9.]+ suffix b k M G T P E; unit: what no suffix means */
char *suggest_nearest(const char *word, const char *const *words); /* by edit distance, or NULL */

#endif
